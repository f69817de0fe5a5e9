"""What was tried, by class, and what came of it: the table in docs/security.md."""

from __future__ import annotations

import logging
from dataclasses import dataclass


@dataclass
class Row:
    """Counts of one class of inputs."""

    tried: int = 0
    wrongly_accepted: int = 0
    unhandled: int = 0


class Ledger:
    """Rows by class."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def note(self, kind: str, *, wrongly_accepted: bool = False, unhandled: bool = False) -> None:
        """Count one input."""
        row = self.rows.setdefault(kind, Row())
        row.tried += 1
        row.wrongly_accepted += wrongly_accepted
        row.unhandled += unhandled


class Faults(logging.Handler):
    """What server and node log with a traceback: nobody had thought of it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what has a traceback."""
        if record.exc_info:
            self.texts.append(logging.Formatter().format(record))
