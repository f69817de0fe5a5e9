"""What every engine is to the node: load a model, generate text from a conversation, stop.

One contract suite tests them all: `tests/inference_node/test_engine.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from shared.values import Sampling
from shared.wire import PathMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FinishReason = Literal["end", "length", "stopped"]


class Prompt(Struct, frozen=True):
    """A conversation to continue, root first; generation also ends before any of the strings in `stop`."""

    messages: list[PathMessage]
    sampling: Sampling = Sampling()
    stop: list[str] = []


class Begun(Struct, frozen=True, tag="begun"):
    """The prompt was read: its length, and how many of its oldest messages did not fit."""

    prompt_tokens: int
    dropped_messages: int


class Working(Struct, frozen=True, tag="working"):
    """A sign of life while a long prompt is read: tokens read so far."""

    processed_tokens: int


class Piece(Struct, frozen=True, tag="piece"):
    """The next piece of text, whole characters, usually one token."""

    text: str


class Finished(Struct, frozen=True, tag="finished"):
    """The last event: why it ended, and how many tokens were generated."""

    reason: FinishReason
    completion_tokens: int


EngineEvent = Begun | Working | Piece | Finished


class Engine(Protocol):
    """One engine. It generates one text at a time; `name` is a code, `is_alive` false needs a new `load`."""

    name: str

    @property
    def is_alive(self) -> bool:
        """Whether a model is loaded and the engine can generate."""
        ...

    def load(self, model: Path) -> AsyncIterator[float]:
        """Load a model in the place of another, yielding progress from 0 to 1.

        Raises DomovoiError model_missing, model_damaged, engine_unavailable, engine_failed.
        """
        ...

    def generate(self, prompt: Prompt) -> AsyncIterator[EngineEvent]:
        """Yield Begun, then Working and Piece events, then one Finished.

        Raises DomovoiError context_too_long when the last message alone does not fit, bad_request for what
        the model's template can't express, engine_failed when the engine dies or stalls; what was yielded stays.
        """
        ...

    async def stop(self) -> None:
        """End the generation that runs, within a second; it finishes with the reason "stopped"."""
        ...

    async def unload(self) -> None:
        """Free everything. Loading again is allowed."""
        ...

    async def wait_for_death(self) -> None:
        """Return when a loaded engine has died or had to be killed; `load` brings it back."""
        ...
