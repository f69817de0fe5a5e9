"""What the node and its engine process say to each other: length-prefixed MessagePack on stdin and stdout."""

from __future__ import annotations

import struct

import msgspec
from msgspec import Struct

from inference_node.engine import Finished, LoadedModel, Piece, Prompt, Reading
from shared.errors import Code

LENGTH = struct.Struct(">I")


class Load(Struct, frozen=True, tag="load"):
    """Load this file."""

    path: str


class Generate(Struct, frozen=True, tag="generate"):
    """Answer a prompt."""

    prompt: Prompt


class Stop(Struct, frozen=True, tag="stop"):
    """End the `number`-th task, if it still runs."""

    number: int


class Loaded(Struct, frozen=True, tag="loaded"):
    """The file is loaded."""

    model: LoadedModel


class TooLong(Struct, frozen=True, tag="too_long"):
    """The prompt takes this many tokens, which leaves too little room."""

    tokens: int


class Failed(Struct, frozen=True, tag="failed"):
    """The task could not be done; `detail` is for people."""

    code: Code
    detail: str


Task = Load | Generate
Command = Load | Generate | Stop
# Each task is answered by exactly one of Loaded, Finished, TooLong and Failed, after any Readings and Pieces.
Report = Loaded | TooLong | Reading | Piece | Finished | Failed

_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_report_decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def pack(message: Command | Report) -> bytes:
    """Return the message with its length before it."""
    payload = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(payload)) + payload


def read_command(payload: bytes) -> Command:
    """Decode what the node said."""
    return _command_decoder.decode(payload)


def read_report(payload: bytes) -> Report:
    """Decode what the engine process said."""
    return _report_decoder.decode(payload)
