"""The files that people copy to their machines are at least well-formed, and say what the program says."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from shared import limits
from tests import nginx

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


@pytest.mark.skipif(nginx.nginx_path() is None, reason="no nginx on this machine: install nginx-light to run this test")
def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    checked = nginx.prepare(tmp_path, port=44300, plain_port=44301, server_port=44302).check()
    assert checked.returncode == 0, checked.stderr


def test_nginx_lets_through_what_the_program_takes() -> None:
    text = nginx.CONFIGURATION.read_text("utf-8")
    assert f"client_max_body_size {limits.MAX_ANSWER_BODY_BYTES // 2**20}m;" in text


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_units_start_the_command_and_give_up_on_wrong_settings(unit: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys keep their case
    parser.read_string(unit.read_text("utf-8"))
    service = parser["Service"]
    assert service["ExecStart"].endswith(("domovoi server", "domovoi node"))
    assert service["RestartPreventExitStatus"] == "78"
    assert service["NoNewPrivileges"] == "yes"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_systemd_knows_every_setting(unit: Path) -> None:
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "Unknown key" not in checked.stderr
