"""Frames of the tunnel between node and server (rules N1-N3).

A frame is `ver u8 | type u8 | flags u16 | stream u32 | seq u64 | ack u64 | len u32 | payload`, big-endian.
"""

from __future__ import annotations

import struct
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from shared.tunnel.limits import MAX_FRAME_PAYLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
_HEAD = struct.Struct(">BBHIQQI")
HEAD_BYTES = _HEAD.size
MAX_FRAME_BYTES = HEAD_BYTES + MAX_FRAME_PAYLOAD_BYTES
FIRST_UNSEQUENCED = 16


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

    @property
    def is_sequenced(self) -> bool:
        """Whether frames of this type are numbered, acknowledged and sent again."""
        return self < FIRST_UNSEQUENCED


class Fault(StrEnum):
    """Every way in which a peer can break the protocol."""

    # What came is no frame, or frames are missing, or nothing comes: the transport
    # is at fault, and another one can go on (rule N3).
    VERSION = "version"
    TYPE = "type"
    LENGTH = "length"
    CUT = "cut"
    GAP = "gap"
    SILENCE = "silence"
    STUCK = "stuck"
    # The peer is at fault, and the session over (rule N4).
    FIELD = "field"
    PAYLOAD = "payload"
    ACK = "ack"
    STREAM = "stream"
    ORDER = "order"
    CREDIT = "credit"


TRANSPORT_FAULTS = frozenset(
    {Fault.VERSION, Fault.TYPE, Fault.LENGTH, Fault.CUT, Fault.GAP, Fault.SILENCE, Fault.STUCK}
)


class FrameError(ValueError):
    """The peer broke the protocol; `fault` says how."""

    def __init__(self, fault: Fault, detail: str) -> None:
        self.fault = fault
        super().__init__(detail)


class Frame(Struct, frozen=True):
    """One frame. `stream` 0 is the session itself; `seq` is 0 in frames that are not numbered."""

    type: FrameType
    stream: int = 0
    payload: bytes = b""
    seq: int = 0
    ack: int = 0
    flags: int = 0


def encode(frame: Frame, ack: int | None = None) -> bytes:
    """Return the frame's bytes, with another `ack` if one is given. Raises FrameError `length` over 64 KiB."""
    if len(frame.payload) > MAX_FRAME_PAYLOAD_BYTES:
        raise FrameError(Fault.LENGTH, "payload too large")
    carried = frame.ack if ack is None else ack
    head = _HEAD.pack(VERSION, frame.type, frame.flags, frame.stream, frame.seq, carried, len(frame.payload))
    return head + frame.payload


def decode(message: bytes) -> Iterator[Frame]:
    """Yield the frames of one whole message. Raises FrameError at the first thing that is not a frame."""
    reader = FrameReader()
    yield from reader.feed(message)
    reader.finish()


class FrameReader:
    """Reads frames out of bytes that come in pieces cut anywhere. Keeps less than one frame and what it was fed."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole now; to be exhausted before the next call.

        Raises FrameError at the first thing that is not a frame, after which the reader is of no use.
        """
        data = self._kept + data
        offset = 0
        try:
            while len(data) - offset >= HEAD_BYTES:
                length = _payload_length(data, offset)
                end = offset + HEAD_BYTES + length
                if end > len(data):
                    break
                yield _frame(data, offset, end)
                offset = end
        finally:
            self._kept = data[offset:]

    def finish(self) -> None:
        """Say that nothing more comes. Raises FrameError `cut` when that is in the middle of a frame."""
        if self._kept:
            raise FrameError(Fault.CUT, "a frame was cut short")


def _payload_length(data: bytes, offset: int) -> int:
    """Check the head before its payload is waited for, so that nothing is kept for what is no frame."""
    version, kind, _, _, _, _, length = _HEAD.unpack_from(data, offset)
    if version != VERSION:
        raise FrameError(Fault.VERSION, f"unknown frame version {version}")
    if kind not in _TYPES:
        raise FrameError(Fault.TYPE, f"unknown frame type {kind}")
    if length > MAX_FRAME_PAYLOAD_BYTES:
        raise FrameError(Fault.LENGTH, "payload too large")
    return int(length)


_TYPES = {int(kind): kind for kind in FrameType}


def _frame(data: bytes, offset: int, end: int) -> Frame:
    _, kind, flags, stream, seq, ack, _ = _HEAD.unpack_from(data, offset)
    payload = data[offset + HEAD_BYTES : end]
    return Frame(_TYPES[kind], stream, payload, seq, ack, flags)
