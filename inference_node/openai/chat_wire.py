"""Bodies of /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from inference_node.openai.wire import AnswerRequest, Usage

MOST_ALTERNATIVES = 20
MOST_MESSAGES = 10_000
MOST_TOOLS = 128

FunctionName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
FinishReason = Literal["stop", "length", "tool_calls"]


class ContentPart(Struct, frozen=True, rename={"kind": "type"}):
    """A part of a message. Only the kind "text" is understood."""

    kind: str
    text: str | None = None


class FunctionCall(Struct, frozen=True):
    """What to call, and with what: JSON text, as the model wrote it."""

    name: str
    arguments: str


class AssistantCall(Struct, frozen=True):
    """A call that the assistant has made."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"


class ChatInput(Struct, frozen=True):
    """A message of the prompt. `developer` is a newer word for `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[AssistantCall] | None = None
    tool_call_id: str | None = None


class FunctionDefinition(Struct, frozen=True, omit_defaults=True):
    """What the model may call. `parameters` is a JSON Schema."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, frozen=True):
    """A tool. There are no others than functions here."""

    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(Struct, frozen=True):
    """The function that is to be called."""

    name: str


class NamedTool(Struct, frozen=True):
    """The tool that is to be called."""

    type: Literal["function"]
    function: NamedFunction


class AnswerSchema(Struct, frozen=True, rename={"definition": "schema"}):
    """The JSON Schema to which an answer is held. It always is, `strict` or not."""

    name: str = ""
    definition: dict[str, Any] | None = None


class ResponseFormat(Struct, frozen=True):
    """What the answer has to be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: AnswerSchema | None = None


class ChatRequest(AnswerRequest, frozen=True, kw_only=True):
    """POST /v1/chat/completions. Members that are not named here are ignored."""

    messages: Annotated[list[ChatInput], Meta(min_length=1, max_length=MOST_MESSAGES)]
    max_completion_tokens: Annotated[int, Meta(ge=1, le=131_072)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MOST_ALTERNATIVES)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    response_format: ResponseFormat | None = None


class TokenAlternative(Struct, frozen=True):
    """A token that might have come. `bytes` need not be whole characters."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Struct, frozen=True):
    """A token that came, and the likeliest in its place."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TokenAlternative]


class ChatLogprobs(Struct, frozen=True):
    """The tokens of an answer, or of a chunk."""

    content: list[TokenLogprob]


class CallDelta(Struct, frozen=True, omit_defaults=True):
    """A piece of a call's function."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(Struct, frozen=True, omit_defaults=True):
    """A piece of the `index`-th call: `id`, `type` and name come once, arguments bit by bit."""

    index: int
    function: CallDelta
    id: str | None = None
    type: Literal["function"] | None = None


class ChatDelta(Struct, frozen=True, omit_defaults=True):
    """A piece of an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChatMessageOutput(Struct, frozen=True):
    """A whole answer. `content` is null where there are calls alone."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    tool_calls: list[AssistantCall] | UnsetType = UNSET


class ChatChoice(Struct, frozen=True):
    """One of the answers."""

    index: int
    message: ChatMessageOutput
    finish_reason: FinishReason
    logprobs: ChatLogprobs | None = None


class ChatChunkChoice(Struct, frozen=True):
    """What is new of one of the answers."""

    index: int
    delta: ChatDelta
    finish_reason: FinishReason | None = None
    logprobs: ChatLogprobs | None = None


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """Answer to POST /v1/chat/completions. `created` is in seconds since 1970."""

    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    object: Literal["chat.completion"] = "chat.completion"


class ChatChunk(Struct, frozen=True, kw_only=True):
    """An event of a streamed answer. The last has no choices but the counts, where they are asked for."""

    id: str
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
