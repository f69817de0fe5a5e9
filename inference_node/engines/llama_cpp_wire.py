"""What llama.cpp's server takes and sends: requests from prompts, events from chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from inference_node.engines.engine import (
    Alternative,
    Finished,
    Piece,
    Prompt,
    PromptTooLong,
    Reading,
    Token,
    ToolCallPiece,
)
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.engines.engine import ChatMessage, EngineEvent, ToolCall
    from inference_node.gguf.vocabulary import Spelling

# How llama.cpp says that no grammar came of a schema, in the words of a fault of its own.
NO_GRAMMAR = "failed to parse grammar"
# A small model that never ends its answer is cut here, unless the request says otherwise.
MOST_ANSWER_TOKENS = 2048
# Ollama's default. Without it (llama.cpp's 1.0) the small model falls into loops that only the limit above ends.
REPEAT_PENALTY = 1.1


class _Likely(Struct, frozen=True):
    token: str = ""
    bytes: list[int] = []
    logprob: float = 0.0
    top_logprobs: list[_Likely] = []


class _Logprobs(Struct, frozen=True):
    content: list[_Likely] | None = None


class _Function(Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Struct, frozen=True):
    index: int = 0
    id: str | None = None
    function: _Function = _Function()


class _Delta(Struct, frozen=True):
    content: str | None = None
    tool_calls: list[_ToolCall] = []


class _Choice(Struct, frozen=True):
    delta: _Delta = _Delta()
    text: str | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _PromptDetails(Struct, frozen=True):
    cached_tokens: int = 0


class _Usage(Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails = _PromptDetails()


class _Progress(Struct, frozen=True):
    total: int
    processed: int


class _Error(Struct, frozen=True):
    message: str = ""
    n_prompt_tokens: int | None = None


class _Chunk(Struct, frozen=True):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    prompt_progress: _Progress | None = None
    error: _Error | None = None


_decoder = msgspec.json.Decoder(_Chunk)


class ChunkReader:
    """One answer as its chunks come in."""

    def __init__(
        self, prompt: Prompt, context: int, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]
    ) -> None:
        self._report = report
        self._is_stopped = is_stopped
        self._most_prompt_tokens = context - prompt.room
        self._alternatives = prompt.logprobs
        self._reason: Literal["end", "length", "stopped"] = "stopped"
        self._pieces = 0
        self._usage = _Usage()
        self._failure: DomovoiError | None = None

    def on_chunk(self, data: bytes) -> bool:
        """Report what a chunk says; return whether to end here."""
        chunk = _decoder.decode(data)
        if chunk.error is not None:
            self._failure = _failure(chunk.error)
        elif chunk.prompt_progress is not None:
            self._on_progress(chunk.prompt_progress)
        for choice in chunk.choices:
            self._on_choice(choice)
        self._usage = chunk.usage or self._usage
        # Once the answer is complete, only its counts are still to come.
        return self._failure is not None or (self._reason == "stopped" and self._is_stopped())

    def finish(self) -> None:
        """Report the end. Raises what made the answer fail."""
        if self._failure is not None:
            raise self._failure
        usage = self._usage
        self._report(
            Finished(
                self._reason,
                usage.prompt_tokens,
                usage.completion_tokens or self._pieces,
                usage.prompt_tokens_details.cached_tokens,
            )
        )

    def _on_choice(self, choice: _Choice) -> None:
        text = choice.delta.content or choice.text or ""
        tokens: list[Token] = []
        if self._alternatives is not None and choice.logprobs is not None:
            tokens = [_token(likely, self._alternatives) for likely in choice.logprobs.content or ()]
        if text or tokens:
            self._pieces += 1
            self._report(Piece(text, tokens=tokens))
        for call in choice.delta.tool_calls:
            function = call.function
            self._report(ToolCallPiece(call.index, call.id or "", function.name or "", function.arguments or ""))
        if choice.finish_reason is not None:
            self._reason = "length" if choice.finish_reason == "length" else "end"

    def _on_progress(self, progress: _Progress) -> None:
        """The first one comes before the prompt is read, and says how long it is."""
        if progress.total > self._most_prompt_tokens:
            self._failure = PromptTooLong(progress.total)
        else:
            self._usage = _Usage(progress.total)
            self._report(Reading(progress.processed, progress.total))


def request_for(prompt: Prompt, spelling: Spelling) -> dict[str, Any]:
    """Return the prompt as llama.cpp's server takes it. Raises DomovoiError `bad_request`.

    The server looks for control tokens in the whole prompt, and so gets none in what people wrote.
    """
    sampling = {name: value for name, value in msgspec.to_builtins(prompt.sampling).items() if value is not None}
    request: dict[str, Any] = {
        "max_tokens": MOST_ANSWER_TOKENS,
        # Braces and quotes repeat, so an answer that is held to a schema is not punished for them.
        "repeat_penalty": 1.0 if prompt.schema is not None else REPEAT_PENALTY,
        **sampling,
        "stop": prompt.stop,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }
    if prompt.logprobs is not None:
        # Its own name for them: with OpenAI's, it refuses tools. It counts the token itself among the likely ones, and
        # takes 0 for "none asked".
        request["n_probs"] = max(prompt.logprobs, 1)
    if prompt.text is not None:
        request["prompt"] = prompt.text
        if prompt.schema is not None:
            request["json_schema"] = _raw("schema", prompt.schema)
        return request
    request["messages"] = [_message(message, spelling) for message in prompt.messages]
    if prompt.tools is not None:
        request["tools"] = spelling.harmless(_raw("tools", prompt.tools))
    if prompt.schema is not None:
        schema = {"schema": _raw("schema", prompt.schema)}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    return request


def _message(message: ChatMessage, spelling: Spelling) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call, spelling)}}
        for call in message.tool_calls
    ]
    optional = {"tool_calls": calls, "tool_call_id": message.tool_call_id, "name": message.name}
    given = {name: value for name, value in optional.items() if value}
    harmless: dict[str, Any] = spelling.harmless({"role": message.role, "content": message.content, **given})
    return harmless


def _arguments(call: ToolCall, spelling: Spelling) -> str:
    """JSON may hide a token behind escapes, which the template takes away."""
    try:
        arguments = msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return call.arguments
    harmless = spelling.harmless(arguments)
    return call.arguments if harmless == arguments else msgspec.json.encode(harmless).decode()


def _raw(name: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise DomovoiError(Code.BAD_REQUEST, f"{name} is no JSON: {error}.") from error


def _token(likely: _Likely, alternatives: int) -> Token:
    others = [Alternative(other.token, bytes(other.bytes), other.logprob) for other in likely.top_logprobs]
    return Token(likely.token, bytes(likely.bytes), likely.logprob, others[:alternatives])


def _failure(error: _Error) -> DomovoiError:
    if error.n_prompt_tokens is not None:
        return PromptTooLong(error.n_prompt_tokens)
    if NO_GRAMMAR in error.message:
        return DomovoiError(Code.BAD_REQUEST, "The JSON schema can't be used: it asks for too much.")
    return DomovoiError(Code.ENGINE_FAILED, error.message or None)
