"""Frames of the tunnel between node and server, and the credit of a stream (rules T1-T6).

A frame is `ver u8 | type u8 | flags u16 | stream u32 | seq u64 | ack u64 | len u32 | payload`, big-endian.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from shared.limits import MAX_FRAME_PAYLOAD_BYTES, STREAM_CREDIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
_HEAD = struct.Struct(">BBHIQQI")
HEAD_BYTES = _HEAD.size


class FrameType(IntEnum):
    """Sequenced below 16, unsequenced from 16."""

    OPEN = 1
    DATA = 2
    END = 3
    RESET = 4
    WINDOW = 5
    HELLO = 16
    WELCOME = 17
    PING = 18
    PONG = 19
    ACK = 20
    POKE = 21
    SWITCH = 22
    GOAWAY = 23
    STATUS = 24


class Frame(Struct, frozen=True):
    """One frame. `stream` 0 is the session itself."""

    type: FrameType
    stream: int = 0
    payload: bytes = b""
    seq: int = 0
    ack: int = 0
    flags: int = 0


class FrameError(ValueError):
    """The peer sent something that is not a frame."""


# Payloads, MessagePack. Neither side takes from the other what no HTTP could have brought.

HeaderName = Annotated[str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9a-z-]+\Z")]
HeaderValue = Annotated[str, Meta(pattern=r"^[\t\x20-\x7e\x80-\xff]*\Z")]
Headers = list[tuple[HeaderName, HeaderValue]]


class HelloPayload(Struct, frozen=True):
    """First frame of the node: its login (as in POST /api/v1/auth/node) and its status."""

    session: str
    epoch: int
    last_rx: int
    caps: list[str]
    token: str


class WelcomePayload(Struct, frozen=True):
    """The server's answer. `heartbeat` is in seconds."""

    resumed: bool
    epoch: int
    last_rx: int
    heartbeat: float
    max_frame: int


class OpenRequest(Struct, frozen=True):
    """Server to node: a call to the node's remote application. Header names are lower-case."""

    method: Annotated[str, Meta(pattern=r"^[A-Z]{1,20}\Z")]
    path: Annotated[str, Meta(pattern=r"^/[\x21-\x7e]*\Z")]
    query: Annotated[str, Meta(pattern=r"^[\x21-\x7e]*\Z")]
    headers: Headers


class OpenResponse(Struct, frozen=True):
    """Node to server: the head of the response, on the same stream."""

    status: Annotated[int, Meta(ge=200, le=599)]
    headers: Headers


class ResetPayload(Struct, frozen=True):
    """Either side gives up on a stream; `code` is from `shared.errors`."""

    code: str


class WindowPayload(Struct, frozen=True):
    """The receiver has consumed `credit` more bytes of DATA."""

    credit: int


class PokePayload(Struct, frozen=True):
    """Server to node: the account's log has reached `head`, or the node's grants changed (`account_id` empty)."""

    account_id: str
    head: int


def encode(frame: Frame) -> bytes:
    """Return the frame's bytes. Raises FrameError when the payload is over 64 KiB."""
    if len(frame.payload) > MAX_FRAME_PAYLOAD_BYTES:
        raise FrameError("payload too large")
    head = _HEAD.pack(VERSION, frame.type, frame.flags, frame.stream, frame.seq, frame.ack, len(frame.payload))
    return head + frame.payload


def decode(message: bytes) -> Iterator[Frame]:
    """Yield the frames of one message. Raises FrameError at the first thing that is not a frame."""
    offset = 0
    while offset < len(message):
        if len(message) - offset < HEAD_BYTES:
            raise FrameError("frame cut short")
        version, kind, flags, stream, seq, ack, length = _HEAD.unpack_from(message, offset)
        offset += HEAD_BYTES
        if version != VERSION:
            raise FrameError(f"unknown frame version {version}")
        if length > MAX_FRAME_PAYLOAD_BYTES or length > len(message) - offset:
            raise FrameError("payload cut short or too large")
        try:
            frame_type = FrameType(kind)
        except ValueError:
            raise FrameError(f"unknown frame type {kind}") from None
        yield Frame(
            type=frame_type,
            stream=stream,
            payload=message[offset : offset + length],
            seq=seq,
            ack=ack,
            flags=flags,
        )
        offset += length


class SendCredit:
    """How much DATA the sender of a stream may still send."""

    def __init__(self) -> None:
        self.available = STREAM_CREDIT_BYTES

    def take(self, wanted: int) -> int:
        """Use up to `wanted` bytes of credit, at most one frame's worth, and return how many were granted."""
        granted = min(wanted, self.available, MAX_FRAME_PAYLOAD_BYTES)
        self.available -= granted
        return granted

    def grant(self, credit: int) -> None:
        """Add what the receiver consumed. Raises FrameError when it grants more than was ever sent."""
        if credit <= 0 or self.available + credit > STREAM_CREDIT_BYTES:
            raise FrameError("credit out of range")
        self.available += credit


class ReceiveCredit:
    """What the receiver of a stream owes the sender; replenished at half."""

    def __init__(self) -> None:
        self._outstanding = 0
        self._consumed = 0

    def received(self, size: int) -> None:
        """Count DATA that came in. Raises FrameError when the sender overran its credit."""
        self._outstanding += size
        if self._outstanding > STREAM_CREDIT_BYTES:
            raise FrameError("sender overran its credit")

    def consumed(self, size: int) -> int:
        """Count DATA handed on, and return the credit to grant now (0: not yet)."""
        self._consumed += size
        if self._consumed < STREAM_CREDIT_BYTES // 2:
            return 0
        credit, self._consumed = self._consumed, 0
        self._outstanding -= credit
        return credit
