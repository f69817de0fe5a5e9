"""What a session tells its owner."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from shared.tunnel.frames import Fault, FrameType


class SessionEnd(StrEnum):
    """Every reason for which a session, and with it each of its streams, ends."""

    UNACKNOWLEDGED_BYTES = "unacknowledged_bytes"
    UNACKNOWLEDGED_TIME = "unacknowledged_time"
    AWAY = "away"
    PROTOCOL = "protocol"
    NOT_RESUMED = "not_resumed"
    REPLACED = "replaced"
    CLOSED = "closed"
    PEER = "peer"


class Opened(Struct, frozen=True):
    """The peer began a stream, or its direction of one of ours."""

    stream: int
    payload: bytes


class Data(Struct, frozen=True):
    """Bytes of a stream. They hold credit until `Session.consumed`."""

    stream: int
    data: bytes


class Ended(Struct, frozen=True):
    """The peer has said all that it will on this stream."""

    stream: int


class Reset(Struct, frozen=True):
    """The peer gave the stream up, both ways."""

    stream: int
    code: str


class Writable(Struct, frozen=True):
    """A stream that took less than it was given takes more now."""

    stream: int


class Lost(Struct, frozen=True):
    """The session is over, and this stream with it."""

    stream: int
    end: SessionEnd


class Told(Struct, frozen=True):
    """A POKE or STATUS."""

    type: FrameType
    payload: bytes


class TransportFailed(Struct, frozen=True):
    """The transport with this epoch is of no use any more and to be closed; the session waits for another."""

    epoch: int
    fault: Fault


class Over(Struct, frozen=True):
    """The session is over, after all its streams. `detail` is the fault, or the code that the peer gave."""

    end: SessionEnd
    detail: str


Event = Opened | Data | Ended | Reset | Writable | Lost | Told | TransportFailed | Over
