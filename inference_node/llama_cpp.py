"""llama.cpp in this process, through the `xllamacpp` wheel. Only the engine process imports this.

The wheel wraps llama.cpp's server, calls it without HTTP, but starts its listener all the same. It gets a socket
file in a private folder that is removed as soon as the model is loaded, so that nobody can ever connect.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from typing import TYPE_CHECKING

import msgspec
import xllamacpp
from msgspec import Struct

from inference_node.engine import ChatMessage, EngineEvent, Finished, LoadedModel, Piece, Prompt, Reading
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The model's own context is used up to here; at 8192 tokens a small model's cache already takes 200 MB.
MOST_CONTEXT = 8192
# Prompts kept in memory for reuse. The default of 8192 exhausts a small machine.
CACHE_MIB = 256
# Tokens read between two looks at whether to stop: half a second even on a slow core.
BATCH = 128
# A small model that never ends its answer is cut here, unless the request says otherwise.
MOST_ANSWER_TOKENS = 2048


class _Delta(Struct):
    content: str | None = None


class _Choice(Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int
    completion_tokens: int


class _Progress(Struct):
    total: int
    processed: int


class _Error(Struct):
    message: str = ""
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Chunk(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    prompt_progress: _Progress | None = None
    error: _Error | None = None


_decoder = msgspec.json.Decoder(_Chunk)


class LlamaCpp:
    """One loaded model. Methods block; only `generate` can be stopped."""

    def __init__(self, path: str) -> None:
        """Load a GGUF file. Raises DomovoiError `model_damaged`."""
        with tempfile.TemporaryDirectory(prefix="domovoi-") as folder:
            try:
                self._server = xllamacpp.Server(_parameters(path, os.path.join(folder, "engine.sock")))
            except RuntimeError as error:
                raise DomovoiError(Code.MODEL_DAMAGED) from error
        self.loaded = LoadedModel(context=self._context())

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Return the prompt's tokens. A prompt that fits is read on the way, so that answering it starts sooner."""
        chunk = self._ask({"messages": messages, "max_tokens": 0})
        if chunk.error is not None and chunk.error.n_prompt_tokens is not None:
            return chunk.error.n_prompt_tokens
        if chunk.usage is None:
            raise _failure(chunk)
        return chunk.usage.prompt_tokens

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        """Report the events of an answer. Raises DomovoiError `context_too_long`, `engine_failed`."""
        pieces = 0
        reason = "stopped"
        usage = _Usage(0, 0)
        failed: _Chunk | None = None

        def on_chunk(data: bytes) -> bool:
            nonlocal pieces, reason, usage, failed
            chunk = _decoder.decode(data)
            if chunk.error is not None:
                failed = chunk
                return True
            for choice in chunk.choices:
                if choice.delta.content:
                    pieces += 1
                    report(Piece(choice.delta.content))
                if choice.finish_reason is not None:
                    reason = "length" if choice.finish_reason == "length" else "end"
            if chunk.prompt_progress is not None:
                usage = _Usage(chunk.prompt_progress.total, 0)
                report(Reading(chunk.prompt_progress.processed, chunk.prompt_progress.total))
            usage = chunk.usage or usage
            return is_stopped() and reason == "stopped"

        self._server.handle_chat_completions(msgspec.json.encode(_request(prompt)), on_chunk)
        if failed is not None:
            raise _failure(failed)
        report(Finished(reason, usage.prompt_tokens, usage.completion_tokens or pieces))

    def _context(self) -> int:
        """Ask with a prompt that surely does not fit: the refusal names the context."""
        chunk = self._ask({"messages": [ChatMessage("user", " a" * 2 * MOST_CONTEXT)], "max_tokens": 1})
        return chunk.error.n_ctx if chunk.error is not None and chunk.error.n_ctx else MOST_CONTEXT

    def _ask(self, request: dict[str, object]) -> _Chunk:
        answer: list[bytes] = []
        self._server.handle_chat_completions(msgspec.json.encode(request), answer.append)
        return msgspec.json.decode(answer[0], type=_Answer).chunk()


class _Answer(Struct):
    """A whole answer, of which only the counts matter."""

    usage: _Usage | None = None
    error: _Error | None = None

    def chunk(self) -> _Chunk:
        return _Chunk(usage=self.usage, error=self.error)


def _parameters(path: str, socket: str) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.hostnames = [socket]
    # Should the folder outlive a crash, its socket still opens to nobody.
    parameters.api_keys = [secrets.token_hex(32)]
    parameters.n_threads_http = 1
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.n_ctx = MOST_CONTEXT
    parameters.cache_ram_mib = CACHE_MIB
    parameters.n_batch = BATCH
    parameters.n_ubatch = BATCH
    parameters.verbosity = 0
    parameters.fit_params = False
    # Text is passed on as the model writes it: nothing is taken out as reasoning or tool calls.
    parameters.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    for cpu in (parameters.cpuparams, parameters.cpuparams_batch):
        cpu.n_threads = _cores()
        # Waiting threads sleep. Spinning ones take turns with whatever else runs: with one core busy, two of two
        # threads fell from 83 to 3 tokens/s when spinning and to 75 when sleeping, and are no faster when quiet.
        cpu.poll = 0
    return parameters


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _request(prompt: Prompt) -> dict[str, object]:
    sampling = {name: value for name, value in msgspec.to_builtins(prompt.sampling).items() if value is not None}
    return {
        "max_tokens": MOST_ANSWER_TOKENS,
        **sampling,
        "messages": prompt.messages,
        "stop": prompt.stop,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }


def _failure(chunk: _Chunk) -> DomovoiError:
    error = chunk.error or _Error()
    if error.n_prompt_tokens is not None:
        return DomovoiError(Code.CONTEXT_TOO_LONG)
    return DomovoiError(Code.ENGINE_FAILED, error.message or None)
