"""What every engine can do. `tests/inference_node/test_engine_contract.py` holds each implementation to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from msgspec import Struct

from shared.errors import Code, DomovoiError
from shared.values import Sampling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

PromptRole = Literal["system", "user", "assistant", "tool"]
# How keys and values of earlier tokens are kept: two bytes a number, or one and a bit.
CacheType = Literal["f16", "q8_0"]


class ToolCall(Struct, frozen=True):
    """A call that the model has made. `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


class ChatMessage(Struct, frozen=True, omit_defaults=True):
    """One message of a prompt. A `tool` message answers the call `tool_call_id` of the assistant before it."""

    role: PromptRole
    content: str
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    name: str | None = None


class Prompt(Struct, frozen=True, omit_defaults=True):
    """What to answer, and how: an answer ends before the first of the `stop` strings.

    Either `messages`, put through the model's template, or raw `text`. `owner` is the account or key that asks: what
    an engine remembers of a prompt is never used for another owner. `room` is how many tokens of the context the
    prompt must leave for the answer. `tools` is the JSON text of a list of tools, in the manner of OpenAI, for the
    template. `schema` is the JSON text of a JSON Schema to which the answer is held. `logprobs` asks for the tokens,
    each with so many alternatives; None asks for no tokens.
    """

    messages: list[ChatMessage] = []
    sampling: Sampling = Sampling()
    stop: list[str] = []
    room: int = 1
    owner: str = ""
    text: str | None = None
    tools: str | None = None
    schema: str | None = None
    logprobs: int | None = None


class EngineOptions(Struct, frozen=True):
    """How to load a model. `context` is the most tokens of one generation, `slots` the most generations at once.

    An engine may give less of both, and says so in `LoadedModel`. `memory` is how many bytes it may allocate; what
    maps files does not count.
    """

    context: int = 8192
    slots: int = 4
    cache: CacheType = "f16"
    memory: int | None = None


DEFAULT_OPTIONS = EngineOptions()


class LoadProgress(Struct, frozen=True, tag="loading"):
    """How much of the model is loaded, in bytes: a sign of life."""

    done: int
    total: int


class LoadedModel(Struct, frozen=True, tag="loaded", omit_defaults=True):
    """What an engine has loaded.

    `context` is in tokens, prompt and answer together; `slots` is how many generations may run at once. The rest is
    for people: "llama", "Q4_1", "AVX2 FMA".
    """

    context: int
    slots: int = 1
    can_embed: bool = False
    architecture: str = ""
    quantisation: str = ""
    instructions: str = ""
    threads: int = 0


class Reading(Struct, frozen=True, tag="reading"):
    """The engine is still reading the prompt: a sign of life, in tokens."""

    done: int
    total: int


class Alternative(Struct, frozen=True):
    """A token that might have come. `data` is its bytes, which need not be whole characters."""

    text: str
    data: bytes
    logprob: float


class Token(Struct, frozen=True):
    """A token that came, and the likeliest ones in its place, with natural logarithms of their probabilities."""

    text: str
    data: bytes
    logprob: float
    alternatives: list[Alternative] = []


class Piece(Struct, frozen=True, tag="piece", omit_defaults=True):
    """The next text: whole characters. `count` is how many tokens made it; `tokens` are they, where asked for.

    Only a piece that has tokens may be without text: they belong to a character that is not whole yet.
    """

    text: str
    count: int = 1
    tokens: list[Token] = []


class ToolCallPiece(Struct, frozen=True, tag="tool_call", omit_defaults=True):
    """The next piece of the `index`-th tool call: `id` and `name` once, `arguments` bit by bit."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Finished(Struct, frozen=True, tag="finished", omit_defaults=True):
    """The last event of a generation. `length`: the context or `max_tokens` is used up.

    `cached_tokens` of the prompt did not have to be read again.
    """

    reason: Literal["end", "length", "stopped"]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


EngineEvent = Reading | Piece | ToolCallPiece | Finished


class Embeddings(Struct, frozen=True, tag="embeddings"):
    """One vector for each text, and how many tokens they took together."""

    vectors: list[list[float]]
    tokens: int


class PromptTooLong(DomovoiError):
    """The prompt does not leave the room that it should; `tokens` is what it takes."""

    def __init__(self, tokens: int) -> None:
        super().__init__(Code.CONTEXT_TOO_LONG)
        self.tokens = tokens


class Generation(Protocol):
    """One answer as it is made. It begins when it is first iterated, and yields events, `Finished` last.

    Raises PromptTooLong before the prompt is read; DomovoiError `bad_request` for a schema or tools that can't be
    used, `unsupported` for what the model can't do, `engine_failed`.
    """

    def __aiter__(self) -> Generation:
        """Return itself."""

    async def __anext__(self) -> EngineEvent:
        """Return the next event. A reader that is slow gets several pieces as one, and holds up nobody."""

    def stop(self) -> None:
        """Ask for the end: after what has come already, the events end with `Finished("stopped")`.

        A generation that has ended stays as it is; one that has not begun ends as soon as it does.
        """

    async def aclose(self) -> None:
        """Leave the generation, wherever it is. When this returns its slot is free."""


class Pulse(NamedTuple):
    """A sign of life. `silent_s`: for how long what is under way has said nothing, in seconds; 0 when nothing is."""

    is_alive: bool
    silent_s: float = 0.0


class Engine(Protocol):
    """Runs one model, `LoadedModel.slots` generations at once.

    Every method may raise DomovoiError `engine_failed`; the engine is of no use after it and is made anew.
    """

    @property
    def name(self) -> str:
        """The engine's name in states and settings."""

    def load(
        self, model: Path, options: EngineOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[LoadProgress | LoadedModel, None]:
        """Load a GGUF file: yield how it goes, `LoadedModel` last.

        Raises DomovoiError `model_damaged`, `unsupported` for a model that another engine may know, `out_of_memory`.
        """

    def generate(self, prompt: Prompt) -> Generation:
        """Return the answer, which is made as it is iterated."""

    async def embed(self, texts: list[str]) -> Embeddings:
        """Return the texts' embeddings. Raises DomovoiError `unsupported` for a model that has none."""

    def pulse(self) -> Pulse:
        """Return how it is; never waits."""

    async def unload(self) -> None:
        """Give back memory and processes. The engine is not used again."""
