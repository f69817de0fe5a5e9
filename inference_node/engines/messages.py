"""What the node and its engine process say to each other: length-prefixed MessagePack on stdin and stdout.

The node numbers its tasks, and each report names the task it is about, so that many can be under way at once.
"""

from __future__ import annotations

import struct

import msgspec
from msgspec import Struct

from inference_node.engines.engine import (
    Embeddings,
    EngineOptions,
    Finished,
    LoadedModel,
    LoadProgress,
    Piece,
    Prompt,
    Reading,
    ToolCallPiece,
)
from shared.errors import Code

LENGTH = struct.Struct(">I")


class Load(Struct, frozen=True, tag="load"):
    """Load this file with the engine of that name."""

    engine: str
    path: str
    options: EngineOptions = EngineOptions()


class Generate(Struct, frozen=True, tag="generate"):
    """Answer a prompt."""

    prompt: Prompt


class Embed(Struct, frozen=True, tag="embed"):
    """Say where texts lie."""

    texts: list[str]


class Ping(Struct, frozen=True, tag="ping"):
    """Say that you live."""


class Stop(Struct, frozen=True, tag="stop"):
    """End the task of this number, if it still runs."""


class TooLong(Struct, frozen=True, tag="too_long"):
    """The prompt takes this many tokens, which leaves too little room."""

    tokens: int


class Failed(Struct, frozen=True, tag="failed"):
    """The task could not be done; `detail` is for people."""

    code: Code
    detail: str


class Pong(Struct, frozen=True, tag="pong"):
    """The process lives, whatever its engine does."""


Task = Load | Generate | Embed
Command = Load | Generate | Embed | Ping | Stop
# Each task is answered by exactly one of these, after any of the other reports.
End = LoadedModel | Embeddings | Finished | TooLong | Failed
Report = LoadProgress | LoadedModel | Embeddings | TooLong | Reading | Piece | ToolCallPiece | Finished | Failed | Pong

_command_decoder: msgspec.msgpack.Decoder[tuple[int, Command]] = msgspec.msgpack.Decoder(tuple[int, Command])
_report_decoder: msgspec.msgpack.Decoder[tuple[int, Report]] = msgspec.msgpack.Decoder(tuple[int, Report])


def pack(number: int, message: Command | Report) -> bytes:
    """Return the message about the task of that number, with its length before it."""
    payload = msgspec.msgpack.encode((number, message))
    return LENGTH.pack(len(payload)) + payload


def read_command(payload: bytes) -> tuple[int, Command]:
    """Decode what the node said."""
    return _command_decoder.decode(payload)


def read_report(payload: bytes) -> tuple[int, Report]:
    """Decode what the engine process said."""
    return _report_decoder.decode(payload)
