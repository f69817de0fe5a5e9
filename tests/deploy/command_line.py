"""Runs `domovoi` as a person does, and returns what it says.

In this process: a start of Python for each of many commands would take most of the tests' time.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

from deploy.command import main

if TYPE_CHECKING:
    from pathlib import Path


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Everything it said, on one line and without the lines of tables."""
        return " ".join(word for word in (self.out + self.err).split() if word.isascii() or word.isalnum())


def domovoi(*arguments: str, data: Path, **environment: str) -> Said:
    """Run the command over a data folder, without a terminal."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.dict(os.environ, {"DOMOVOI_DATA": str(data)} | environment),
        mock.patch.object(sys, "argv", ["domovoi", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
    return Said(code, out.getvalue(), err.getvalue())
