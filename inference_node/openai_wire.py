"""Bodies of the OpenAI-compatible API: the part of it that programs use to chat."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from shared.limits import MAX_MESSAGE_CHARACTERS

Text = Annotated[str, Meta(max_length=MAX_MESSAGE_CHARACTERS)]
MAX_STOPS = 16


class TextPart(Struct, frozen=True, tag="text", tag_field="type"):
    """A part of a message. Other kinds of parts are not understood."""

    text: Text


class ChatInput(Struct, frozen=True):
    """A message of the prompt. `developer` is a newer word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """The message's text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(Struct, frozen=True):
    """`include_usage` asks for a last chunk with the counts."""

    include_usage: bool = False


class ChatRequest(Struct, frozen=True):
    """POST /v1/chat/completions. Members that are not named here are ignored."""

    messages: Annotated[list[ChatInput], Meta(min_length=1, max_length=10_000)]
    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: Text | Annotated[list[Text], Meta(max_length=MAX_STOPS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=131_072)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=131_072)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None

    @property
    def stops(self) -> list[str]:
        """The stop strings; empty ones stop nothing."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in stops if stop]


class ChatOutput(Struct, frozen=True, omit_defaults=True):
    """The answer, or a piece of it."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class Choice(Struct, frozen=True):
    """The one choice: `message` in a whole answer, `delta` in a chunk."""

    index: int
    finish_reason: Literal["stop", "length"] | None
    message: ChatOutput | UnsetType = UNSET
    delta: ChatOutput | UnsetType = UNSET


class Usage(Struct, frozen=True):
    """Counts of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(Struct, frozen=True):
    """A whole answer, or a chunk of one. `created` is in seconds since 1970."""

    id: str
    object: Literal["chat.completion", "chat.completion.chunk"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | UnsetType = UNSET


class ModelCard(Struct, frozen=True):
    """A row of GET /v1/models."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "domovoi"


class ModelCards(Struct, frozen=True):
    """GET /v1/models."""

    data: list[ModelCard]
    object: Literal["list"] = "list"


class ErrorBody(Struct, frozen=True):
    """What went wrong, as OpenAI's clients read it. `code` is one of ours."""

    message: str
    type: str
    code: str
    param: str | None = None


class ErrorAnswer(Struct, frozen=True):
    """Every failure of this API."""

    error: ErrorBody
