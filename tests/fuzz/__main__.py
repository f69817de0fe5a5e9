"""Runs one target until something surprises it, or all of them in turns: `python -m tests.fuzz [TARGET] [options]`.

Options are libFuzzer's. What is found new is kept in `.cache/fuzz/`, and what made a target fail beside it; the corpus
that comes with the repository is only read.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS
from tests.structure.tracked import ROOT

FOUND = ROOT / ".cache" / "fuzz"
# Set by the tests: another folder for what is found.
INTO = "DOMOVOI_FUZZ_INTO"
DEFAULT_OPTIONS = ["-max_total_time=300"]


def main(arguments: list[str]) -> int:
    """Return the exit status: of a target alone libFuzzer's, of all how many of them failed."""
    if arguments and arguments[0] in TARGETS:
        _run(arguments[0], arguments[1:] or DEFAULT_OPTIONS)
    failed = 0
    for name in TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", name, *(arguments or DEFAULT_OPTIONS)]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


def _run(name: str, options: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415  # not everywhere

    # The parts are imported in here for the first time, so that each of their branches is seen.
    with atheris.instrument_imports(include=["shared", "sync_server", "inference_node", "deploy", "jwt", "zipfile"]):
        target = importlib.import_module(f"tests.fuzz.{name}")
    # A walk that is to be the same each time must not begin with what others have found.
    found = Path(os.environ[INTO]) if INTO in os.environ else FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    usual = [f"-artifact_prefix={found.parent}/{name}-", "-timeout=20", "-rss_limit_mb=4096"]
    atheris.Setup([name, str(found), str(CORPUS / name), *usual, *options], target.make())
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
