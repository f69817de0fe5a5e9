"""What a node or a server says through the tunnel: frames cut anywhere, and their payloads (rules N1 to N4, N8 to N11).

The first byte is how many bytes come at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tunnel.frames import Frame, FrameReader
from shared.tunnel.limits import MAX_MESSAGE_BYTES
from shared.tunnel.session import Session
from shared.tunnel.table import Side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.targets import Target

NOW = 1000.0


def make() -> Target:
    """Return what receives."""
    return receive


def receive(data: bytes) -> None:
    """Have both sides of a session receive the bytes. Raises for anything but what a peer can break."""
    if not data:
        return
    step, rest = data[0] + 1, data[1:]
    pieces = [rest[start : start + step] for start in range(0, len(rest), step)]
    for side in Side:
        session = Session("0" * 32, side, NOW)
        session.attach(1, 0, NOW)
        session.receive(1, _frames(pieces), NOW)
        for event in session.take_events():
            assert event is not None
        session.tick(NOW + 1)
        assert len(session.outgoing(NOW + 1)) <= MAX_MESSAGE_BYTES
        assert session.held_bytes <= 2 * MAX_MESSAGE_BYTES


def _frames(pieces: list[bytes]) -> Iterator[Frame]:
    reader = FrameReader()
    for piece in pieces:
        yield from reader.feed(piece)
    reader.finish()
