"""The one door to the optional Rust package. What is behind it may be faster, never different."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["accel", "accelerated", "encode_event", "encode_event_in_python"]


def encode_event_in_python(event_id: str, kind: str, data: bytes) -> bytes:
    """Return one server-sent event: `data` split at line ends, as the SSE specification has it.

    Raises ValueError for a line end in `event_id` or `kind`, which would forge fields.
    """
    if any(end in text for text in (event_id, kind) for end in "\r\n\0"):
        raise ValueError("an event's id and kind are single lines")
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    body = b"".join(b"data: %b\n" % line for line in lines)
    return f"id: {event_id}\nevent: {kind}\n".encode() + body + b"\n"


encode_event: Callable[[str, str, bytes], bytes]
try:
    import accel
    from accel import encode_event
except ImportError:
    # Where it is not built, the first import finds the checkout's folder and only the second one fails.
    accel = None  # type: ignore[assignment]
    encode_event = encode_event_in_python

accelerated: bool = encode_event is not encode_event_in_python
