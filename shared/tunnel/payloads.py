"""Payloads of frames, MessagePack. What a peer wrote is read within bounds, or refused (rule N2)."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from shared.limits import MAX_ADDRESS_CHARACTERS
from shared.tunnel.frames import Fault, Frame, FrameError
from shared.tunnel.limits import (
    MAX_CAPABILITIES,
    MAX_CAPABILITY_CHARACTERS,
    MAX_FRAME_PAYLOAD_BYTES,
    MAX_HELLO_TOKEN_BYTES,
    MIN_FRAME_PAYLOAD_BYTES,
    PING_IDLE_S,
    SESSION_BYTES,
    SESSION_CREDIT_BYTES,
)

_Payload = TypeVar("_Payload")

SessionId = Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * SESSION_BYTES}}}$")]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
# msgspec bounds integers within 63 bits; a tunnel lives shorter.
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
# Neither side takes from the other what no HTTP could have brought (rule T7).
HeaderName = Annotated[str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9a-z-]+\Z")]
HeaderValue = Annotated[str, Meta(pattern=r"^[\t\x20-\x7e\x80-\xff]*\Z")]
Headers = list[tuple[HeaderName, HeaderValue]]
Capability = Annotated[str, Meta(max_length=MAX_CAPABILITY_CHARACTERS)]


class HelloPayload(Struct, frozen=True):
    """First frame of the node on each transport: its login (as in POST /api/v1/auth/node) and where it stands.

    `last_rx` is the last number that it received in this session without a gap before it. `since` is the epoch in
    which the session began, 0 before: a server that has begun it anew meanwhile has another history under this name.
    """

    session: SessionId
    epoch: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    last_rx: Number
    caps: Annotated[list[Capability], Meta(max_length=MAX_CAPABILITIES)]
    token: Annotated[str, Meta(max_length=MAX_HELLO_TOKEN_BYTES)]
    since: U32 = 0


class WelcomePayload(Struct, frozen=True):
    """The server's answer. `heartbeat` is in seconds, `max_frame` the greatest payload that it takes, in bytes.

    `since` is the epoch in which the session began, this one unless it is resumed. `address` is where the server sees
    the node at.
    """

    resumed: bool
    epoch: U32
    last_rx: Number
    heartbeat: Annotated[float, Meta(ge=1, le=PING_IDLE_S)]
    max_frame: Annotated[int, Meta(ge=MIN_FRAME_PAYLOAD_BYTES, le=MAX_FRAME_PAYLOAD_BYTES)]
    since: U32 = 0
    address: Annotated[str, Meta(max_length=MAX_ADDRESS_CHARACTERS)] = ""


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
    """Why a stream (RESET) or a session (GOAWAY) ends; `code` is from `shared.errors`, or the end of a session."""

    code: Annotated[str, Meta(max_length=MAX_CAPABILITY_CHARACTERS)]


class WindowPayload(Struct, frozen=True):
    """The receiver has consumed `credit` more bytes of DATA, of the stream or, on stream 0, of all."""

    credit: Annotated[int, Meta(ge=1, le=SESSION_CREDIT_BYTES)]


class PokePayload(Struct, frozen=True):
    """Server to node: the account's log has reached `head`, or the node's grants changed (`account_id` empty)."""

    account_id: str
    head: int


def read(frame: Frame, kind: type[_Payload]) -> _Payload:
    """Return the frame's payload. Raises FrameError `payload` when it is not one of this kind."""
    return unpack(frame.payload, kind)


def unpack(payload: bytes, kind: type[_Payload]) -> _Payload:
    """Return what these bytes say. Raises FrameError `payload` when it is not one of this kind."""
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FrameError(Fault.PAYLOAD, f"no {kind.__name__}: {error}") from None


def write(payload: Struct) -> bytes:
    """Return the payload's bytes."""
    return msgspec.msgpack.encode(payload)
