"""Runs the suite and writes the table in docs/security.md: `python -m tests.security`; with --check only compares."""

from __future__ import annotations

import os
import sys

import pytest

from tests.security.report import WRITING


def main(arguments: list[str]) -> int:
    """Return pytest's exit status: 1 when a test failed, or with --check when the table is not current."""
    if "--check" not in arguments:
        os.environ[WRITING] = "1"
    return int(pytest.main(["-q", "tests/security"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
