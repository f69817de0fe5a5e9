"""What the two transports of a node have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from shared.errors import Code, Problem
from shared.tunnel.machine import Failure

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from shared.tunnel.frames import Frame

# What stops a node for good, until it is paired anew. A clock that is wrong is not among them: it may be set.
DENIALS = {Code.NODE_UNKNOWN, Code.DEVICE_REVOKED, Code.TOKEN_INVALID}
UNAUTHORIZED = {401, 403, 404}


class TransportError(Exception):
    """The transport has ended, or never began."""

    def __init__(self, failure: Failure, detail: str) -> None:
        self.failure = failure
        super().__init__(detail)


class Owner(Protocol):
    """Whose session the transports carry. Every call names the transport by its epoch."""

    def hello(self, epoch: int) -> bytes:
        """Return a new HELLO, which can be sent once."""

    def welcomed(self, epoch: int, frame: Frame) -> None:
        """The first frame came. Raises TransportError when it is no WELCOME."""

    def receive(self, epoch: int, frames: Iterable[Frame], *, is_life: bool = True) -> None:
        """Take what came."""

    def outgoing(self, epoch: int, most_bytes: int, most_frames: int | None = None) -> bytes:
        """Return the next message."""

    def heard(self, epoch: int) -> None:
        """Something came that has no frames in it."""

    def take_poll(self) -> int:
        """Return the `last_rx` of the next request for more."""


class Transport(Protocol):
    """One attempt, and what comes of it."""

    epoch: int
    # Set when the session may have something to send.
    news: asyncio.Event

    async def run(self) -> None:
        """Carry until it ends; cancelled when it is closed. Raises TransportError."""


def denial(status: int, body: bytes) -> Failure:
    """Return how an HTTP answer other than the wanted one counts: denied only with a code of ours."""
    if status not in UNAUTHORIZED:
        return Failure.REFUSED
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Failure.REFUSED
    return denial_of(problem.code)


def denial_of(code: str) -> Failure:
    """Return how a code of the server's counts."""
    return Failure.DENIED if code in DENIALS else Failure.REFUSED
