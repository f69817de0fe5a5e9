"""Lines of the log: a sentence and what it is about as `key=value`, or the same as one JSON object a line.

Modules log `log.info("model ready", extra={"model": …})`. Nothing that people wrote is ever logged.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

# What every record has; the rest is what was given as `extra`.
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class TextFormatter(logging.Formatter):
    """Lines for people, with the facts behind the sentence."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # logging's own name
        """Return the line without a traceback."""
        facts = "".join(f" {name}={_shown(value)}" for name, value in facts_of(record).items())
        return f"{super().formatMessage(record)}{facts}"


class JsonFormatter(logging.Formatter):
    """Lines for programs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object without line ends."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **facts_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was given as `extra`, without what is None."""
    return {name: value for name, value in vars(record).items() if name not in _OWN and value is not None}


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=\n\r\t') else text
