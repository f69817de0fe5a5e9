"""Stands in for systemd-run where no systemd runs: holds what it is told against the unit, and runs the command."""

from __future__ import annotations

import argparse
import os
import sys

from tests.structure.tracked import ROOT

UNIT = (ROOT / "deploy" / "systemd" / "domovoi-node.service").read_text("utf-8").splitlines()
PROGRAM = "/opt/domovoi/.venv/bin/domovoi"


def main() -> None:
    """Never returns. Ends with an AssertionError when the command would not run as the service does."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--pty", "--quiet", "--collect"):
        parser.add_argument(flag, action="store_true", required=True)
    parser.add_argument("-p", action="append", dest="properties", required=True)
    parser.add_argument("-E", action="append", dest="environment", required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    told = parser.parse_args()
    assert [line for line in told.properties if line not in UNIT] == [], "the service is run otherwise"
    needed = ("DynamicUser", "User", "UMask", "StateDirectory", "StateDirectoryMode", "WorkingDirectory")
    assert {line.partition("=")[0] for line in told.properties} == set(needed)
    assert [line for line in told.environment if f"Environment={line}" not in UNIT] == []
    assert told.command[:3] == [PROGRAM, "node", "pair"]
    os.environ["DOMOVOI_DATA"] = os.environ["STAND_IN_DATA"]
    os.execv(sys.executable, [sys.executable, "-m", "deploy.command", *told.command[1:]])
