"""What every engine can do. `tests/inference_node/test_engine_contract.py` holds each implementation to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from shared.errors import Code, DomovoiError
from shared.values import Role, Sampling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


class ChatMessage(Struct, frozen=True):
    """One message of a prompt."""

    role: Role
    content: str


class Prompt(Struct, frozen=True):
    """What to answer, and how: an answer ends before the first of the `stop` strings.

    `room` is how many tokens of the context the prompt must leave for the answer.
    """

    messages: list[ChatMessage]
    sampling: Sampling = Sampling()
    stop: list[str] = []
    room: int = 1


class LoadedModel(Struct, frozen=True):
    """What an engine has loaded. `context` is in tokens, prompt and answer together."""

    context: int


class Reading(Struct, frozen=True, tag="reading"):
    """The engine is still reading the prompt: a sign of life, in tokens."""

    done: int
    total: int


class Piece(Struct, frozen=True, tag="piece"):
    """The next text: whole characters, never empty."""

    text: str


class Finished(Struct, frozen=True, tag="finished"):
    """The last event of a generation. `length`: the context or `max_tokens` is used up."""

    reason: Literal["end", "length", "stopped"]
    prompt_tokens: int
    completion_tokens: int


EngineEvent = Reading | Piece | Finished


class PromptTooLong(DomovoiError):
    """The prompt does not leave the room that it should; `tokens` is what it takes."""

    def __init__(self, tokens: int) -> None:
        super().__init__(Code.CONTEXT_TOO_LONG)
        self.tokens = tokens


class Engine(Protocol):
    """Runs one model, one generation at a time.

    Every method may raise DomovoiError `engine_failed`; the engine is of no use after it and is made anew.
    """

    @property
    def name(self) -> str:
        """The engine's name in states and settings."""

    async def load(self, model: Path) -> LoadedModel:
        """Load a GGUF file. Raises DomovoiError `model_damaged`."""

    def generate(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        """Yield the answer, ended by `Finished`. Closing the generator early frees the engine before it returns.

        Raises PromptTooLong before reading the prompt.
        """

    async def stop(self) -> None:
        """End the generation that runs, if one does; its stream ends with `Finished("stopped")`."""

    async def unload(self) -> None:
        """Give back memory and processes. The engine is not used again."""
