"""Typed values of the fields that people and nodes write (rules V1-V4).

A value is MessagePack in a change, opaque to the server. Structs are maps, so that a later version can add
keys: an old reader ignores them and never writes the value back (V2).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from shared.change import EntityId
from shared.limits import MAX_BLOB_BYTES, MAX_MESSAGE_CHARACTERS, NODE_ID_BYTES

Role = Literal["system", "user", "assistant"]
AnswerState = Literal["queued", "running", "done", "stopped", "interrupted", "failed"]
NodeId = Annotated[bytes, Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
Text = Annotated[str, Meta(max_length=MAX_MESSAGE_CHARACTERS)]


class Header(Struct, frozen=True):
    """Write-once place of a message in its conversation's tree. `parent` is None at the root."""

    role: Role
    parent: EntityId | None = None


class Sampling(Struct, frozen=True, omit_defaults=True):
    """How the engine picks tokens; None means the model's default.

    `repeat_penalty` divides the scores of tokens that came before, `presence_penalty` and `frequency_penalty` are
    taken off them, once and for each time.
    """

    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1000)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=131_072)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None


class Request(Struct, frozen=True):
    """Write-once request for an answer, in the answer's REQUEST field.

    `node` is the only node that may run it; None stands for any node that holds a lease.
    `model` None is the node's default at the start of the run.
    """

    node: NodeId | None
    model: str | None = None
    sampling: Sampling = Sampling()


class State(Struct, frozen=True, omit_defaults=True):
    """What became of a request. Only the node that runs it writes this.

    `code` is from `shared.errors` when the state is failed or interrupted. Times are in milliseconds,
    `dropped_messages` counts the oldest messages that did not fit the model's context.
    """

    state: AnswerState
    code: str | None = None
    model: str | None = None
    engine: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token_ms: int | None = None
    duration_ms: int | None = None
    dropped_messages: int | None = None


class Attachment(Struct, frozen=True, omit_defaults=True):
    """What people see of a file, in its INFO field; its content is the blob that its BLOB field names (B6).

    `size` is in bytes, `message` the message that carries it; None while it is a draft's.
    """

    name: Annotated[str, Meta(max_length=255)]
    media_type: Annotated[str, Meta(max_length=127)]
    size: Annotated[int, Meta(ge=0, le=MAX_BLOB_BYTES)]
    message: EntityId | None = None


# What an account settles for all of its devices (rules A): the node that it wants answers from, None for whichever is
# there, and what is done with a question while that node does not answer.
MainNode = NodeId | None
AsleepPolicy = Literal["ask", "another", "wait"]

FINAL_STATES: frozenset[AnswerState] = frozenset({"done", "stopped", "interrupted", "failed"})
# The next request of a branch runs only after an answer that ended in one of these (rule Q3).
CONTINUABLE_STATES: frozenset[AnswerState] = frozenset({"done", "stopped"})

_T = TypeVar("_T")


def encode(value: object) -> bytes:
    """Return the MessagePack of a value."""
    return msgspec.msgpack.encode(value)


def decode(data: bytes, kind: type[_T]) -> _T | None:
    """Return the value, or None when it is not one that this version understands (V3)."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
