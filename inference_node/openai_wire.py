"""The bodies of the OpenAI-compatible API, as far as a local model has an answer to them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from inference_node.engine import FinishReason, Prompt
from shared.errors import Code, DomovoiError
from shared.values import Sampling
from shared.wire import PathMessage

_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
MOST_STOPS = 16
_SEED_MASK = 2**32 - 1


class ContentPart(Struct):
    """A part of a message; only text is understood."""

    type: str
    text: str = ""


class ChatMessage(Struct):
    """One message of the conversation."""

    role: str
    content: str | list[ContentPart] | None = None


class StreamOptions(Struct):
    """What a stream tells beside the text."""

    include_usage: bool = False


class ChatRequest(Struct):
    """POST /v1/chat/completions. Parameters that are not listed here are ignored."""

    model: str
    messages: list[ChatMessage]
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    n: int | None = None

    def prompt(self) -> Prompt:
        """Return what the engine is to continue. Raises DomovoiError bad_request."""
        if self.n not in {None, 1}:
            raise DomovoiError(Code.BAD_REQUEST, "n: only one answer at a time can be generated.")
        if not self.messages:
            raise DomovoiError(Code.BAD_REQUEST, "messages: there must be at least one.")
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > MOST_STOPS or not all(stops):
            raise DomovoiError(Code.BAD_REQUEST, f"stop: up to {MOST_STOPS} strings, none of them empty.")
        return Prompt([_message(message) for message in self.messages], self._sampling(), stops)

    def _sampling(self) -> Sampling:
        chosen: dict[str, Any] = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_completion_tokens or self.max_tokens,
            "seed": None if self.seed is None else self.seed & _SEED_MASK,
        }
        try:
            return msgspec.convert(chosen, Sampling)
        except msgspec.ValidationError as error:
            raise DomovoiError(Code.BAD_REQUEST, f"{error}.") from error


def _message(message: ChatMessage) -> PathMessage:
    role = _ROLES.get(message.role)
    if role is None:
        raise DomovoiError(Code.BAD_REQUEST, "messages: roles are system, developer, user and assistant.")
    parts = [] if message.content is None else message.content
    if isinstance(parts, str):
        return PathMessage(role, parts)
    if any(part.type != "text" for part in parts):
        raise DomovoiError(Code.BAD_REQUEST, "messages: this model reads text only.")
    return PathMessage(role, "".join(part.text for part in parts))


class Usage(Struct):
    """Tokens read and generated."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Reply(Struct):
    """The assistant's message."""

    content: str
    role: str = "assistant"


class Choice(Struct):
    """The one choice."""

    message: Reply
    finish_reason: str
    index: int = 0


class ChatCompletion(Struct):
    """A whole answer. `created` is in seconds since 1970."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    object: str = "chat.completion"


class Delta(Struct, omit_defaults=True):
    """What a chunk adds."""

    role: str | None = None
    content: str | None = None


class ChunkChoice(Struct):
    """The one choice of a chunk."""

    delta: Delta
    finish_reason: str | None = None
    index: int = 0


class ChatChunk(Struct):
    """One event of a streamed answer."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    object: str = "chat.completion.chunk"


class ModelCard(Struct):
    """A model in the list."""

    id: str
    created: int
    object: str = "model"
    owned_by: str = "domovoi"


class ModelList(Struct):
    """GET /v1/models."""

    data: list[ModelCard]
    object: str = "list"


class ErrorBody(Struct):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    code: str
    param: str | None = None


class ErrorReply(Struct):
    """The body of every refusal of this API."""

    error: ErrorBody


def finish_reason(reason: FinishReason) -> str:
    """Return OpenAI's word for why a generation ended."""
    return "length" if reason == "length" else "stop"
