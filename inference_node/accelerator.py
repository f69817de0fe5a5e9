"""The one import door to `accel`, which makes the node faster, never different; each function has its twin here."""

from __future__ import annotations

import logging
import re

__all__ = ["accelerated", "encode_event", "log_which", "plain_encode_event"]

log = logging.getLogger(__name__)

_LINE_END = re.compile(rb"\r\n|\n|\r")
_NOT_IN_A_LINE = re.compile("[\n\r\0]")


def plain_encode_event(event_id: str, kind: str, data: bytes) -> bytes:
    """Return one server-sent event (HTML standard, section 9.2.6): id, event and a data field for each line.

    Raises ValueError when id or kind is not a single line.
    """
    if _NOT_IN_A_LINE.search(event_id) or _NOT_IN_A_LINE.search(kind):
        raise ValueError("an event's id and kind are single lines")
    fields = b"".join(b"data: %b\n" % line for line in _LINE_END.split(data))
    return b"id: %b\nevent: %b\n%b\n" % (event_id.encode(), kind.encode(), fields)


try:
    from accel import encode_event
except ImportError:
    encode_event = plain_encode_event
    accelerated = False
else:
    accelerated = True


def log_which() -> None:
    """Say in one line of the log whether `accel` is there."""
    log.info("accel is %s", "in use" if accelerated else "not built; everything works without it")
