"""What node and engine process say to each other: a length (u32, big-endian), then that much MessagePack."""

from __future__ import annotations

import struct

import msgspec
from msgspec import Struct

from inference_node.engine import Begun, Finished, Piece, Prompt, Working

HEAD = struct.Struct(">I")
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class Load(Struct, frozen=True, tag="load"):
    """Load a model; `context_tokens` is the most that prompt and answer may have together."""

    path: str
    context_tokens: int


class Generate(Struct, frozen=True, tag="generate"):
    """Generate; everything said about it carries its number."""

    number: int
    prompt: Prompt


class Stop(Struct, frozen=True, tag="stop"):
    """End a generation."""

    number: int


class Loading(Struct, frozen=True, tag="loading"):
    """Progress of loading, 0 to 1."""

    progress: float


class Loaded(Struct, frozen=True, tag="loaded"):
    """The model is ready."""


class Said(Struct, frozen=True, tag="said"):
    """An event of a generation."""

    number: int
    event: Begun | Working | Piece | Finished


class Failed(Struct, frozen=True, tag="failed"):
    """Loading (number 0) or a generation failed, with a code of `shared.errors`."""

    number: int
    code: str
    detail: str


Command = Load | Generate | Stop
Report = Loading | Loaded | Said | Failed

_encoder = msgspec.msgpack.Encoder()
command_decoder = msgspec.msgpack.Decoder(Command)
report_decoder = msgspec.msgpack.Decoder(Report)


def frame(message: Command | Report) -> bytes:
    """Return the message with its length before it."""
    body = _encoder.encode(message)
    return HEAD.pack(len(body)) + body
