"""Runs `domovoi` as a person does, and returns what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
WITHIN_S = 120


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Everything it said, on one line."""
        return " ".join((self.out + self.err).split())


def domovoi(*arguments: str, data: Path, **environment: str) -> Said:
    """Run the command over a data folder, without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.command", *arguments],
        cwd=ROOT,
        env=os.environ | {"DOMOVOI_DATA": str(data), "COLUMNS": "200"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WITHIN_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Said(done.returncode, done.stdout, done.stderr)
