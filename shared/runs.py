"""Run events: what a node tells the watchers of an answer (rules S1-S5).

Over SSE an event is `id: <answer_id>:<n>`, `event: <kind>`, `data: <JSON of one of these>`, n from 1.
"""

from __future__ import annotations

from msgspec import Struct

from shared.change import Change
from shared.values import State


class Started(Struct, frozen=True, tag="started", tag_field="kind"):
    """The engine has begun; `model` is the one that answers, `engine` runs it."""

    model: str
    engine: str
    dropped_messages: int = 0


class Text(Struct, frozen=True, tag="text", tag_field="kind"):
    """The next piece of the answer. Concatenated, all pieces are the answer's body, byte for byte."""

    text: str


class Notice(Struct, frozen=True, tag="notice", tag_field="kind"):
    """A step down that people should know of, as a code from `shared.errors`."""

    code: str


class Ended(Struct, frozen=True, tag="ended", tag_field="kind"):
    """The run's last event: its final state and the changes the node wrote, to be stored like pulled ones."""

    state: State
    changes: list[Change]


RunEvent = Started | Text | Notice | Ended


def event_id(answer_id: bytes, number: int) -> str:
    """Return the SSE id of the `number`-th event, from 1."""
    return f"{answer_id.hex()}:{number}"


def parse_event_id(text: str, answer_id: bytes) -> int:
    """Return the number in a `Last-Event-ID`. Raises ValueError when it is not one of this answer's."""
    prefix, _, number = text.rpartition(":")
    if prefix != answer_id.hex() or not number.isascii() or not number.isdigit():
        raise ValueError("not an event of this answer")
    return int(number)
