"""llama.cpp through the `xllamacpp` wheel. Runs inside the engine process only; blocks.

The wheel's `Server` answers JSON requests through callbacks. It also insists on an HTTP listener, which gets a
socket file in a private folder that is removed at once, so that nobody can reach it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
from msgspec import UNSET, Struct, UnsetType

from inference_node.context import without_oldest
from inference_node.engine import Begun, EngineEvent, Finished, Piece, Prompt, Working
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from shared.wire import PathMessage

# Kept prompts of other chats; the wheel's own default of 8192 does not fit a small machine.
PROMPT_CACHE_MIB = 256
# A stop is noticed between two batches of the prompt, so a batch must stay well under a second.
BATCH_TOKENS = 64
ERRORS_ONLY = 1

Emit = Callable[[EngineEvent], None]
IsStopped = Callable[[], bool]


class _Progress(Struct):
    total: int
    processed: int


class _Delta(Struct, frozen=True):
    content: str | None = None


class _Choice(Struct):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Usage(Struct):
    completion_tokens: int


class _Error(Struct):
    message: str = ""
    type: str = ""
    code: int = 500
    n_prompt_tokens: int = 0


class _Chunk(Struct):
    """The parts of a streamed chat completion that matter here."""

    choices: list[_Choice] = []
    prompt_progress: _Progress | UnsetType = UNSET
    usage: _Usage | UnsetType = UNSET
    error: _Error | UnsetType = UNSET


_decoder = msgspec.json.Decoder(_Chunk)


class LlamaCpp:
    """A loaded model. Raises DomovoiError engine_unavailable without the wheel, model_damaged if it won't load."""

    def __init__(self, path: str, context_tokens: int) -> None:
        try:
            import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415  # only this process pays for it
        except ImportError as error:
            raise DomovoiError(Code.ENGINE_UNAVAILABLE, f"The engine can't be loaded: {error}.") from error
        self._context_tokens = context_tokens
        folder = Path(tempfile.mkdtemp(prefix="domovoi-"))
        try:
            self._server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), path, context_tokens, folder))
        except RuntimeError as error:
            raise DomovoiError(Code.MODEL_DAMAGED) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def generate(self, prompt: Prompt, emit: Emit, is_stopped: IsStopped) -> None:
        """Generate until it ends, emitting the events of `Engine.generate`. Raises DomovoiError as it does.

        The engine counts the prompt's tokens before it reads it; if they leave too little room, the oldest
        messages go and the rest is tried, at the cost of counting again.
        """
        reserve = min(prompt.sampling.max_tokens or self._context_tokens, self._context_tokens // 4)
        messages, dropped = prompt.messages, 0
        while True:
            attempt = _Attempt(self._context_tokens - reserve, dropped, emit, is_stopped)
            self._server.handle_chat_completions(_request(messages, prompt), attempt.on_chunk)
            if not attempt.too_long_by:
                attempt.finish()
                return
            kept = without_oldest(messages, attempt.prompt_tokens, attempt.too_long_by)
            dropped += len(messages) - len(kept)
            messages = kept


class _Attempt:
    """One request to the wheel and what its callback learns."""

    def __init__(self, most_prompt_tokens: int, dropped: int, emit: Emit, is_stopped: IsStopped) -> None:
        self.prompt_tokens = 0
        self.too_long_by = 0
        self._most = most_prompt_tokens
        self._dropped = dropped
        self._emit = emit
        self._is_stopped = is_stopped
        self._was_stopped = False
        self._reason: str | None = None
        self._pieces = 0
        self._completion_tokens: int | None = None
        self._error: _Error | None = None

    def on_chunk(self, data: bytes) -> bool:
        """Take a chunk; true ends the request. Exceptions would be swallowed by the wheel."""
        chunk = _decoder.decode(data)
        if chunk.error is not UNSET:
            self._on_error(chunk.error)
            return True
        if self._is_stopped():
            self._was_stopped = True
            return True
        if chunk.prompt_progress is not UNSET and self._on_progress(chunk.prompt_progress):
            return True
        if chunk.usage is not UNSET:
            self._completion_tokens = chunk.usage.completion_tokens
        for choice in chunk.choices:
            self._reason = choice.finish_reason or self._reason
            if choice.delta.content:
                self._pieces += 1
                self._emit(Piece(choice.delta.content))
        return False

    def finish(self) -> None:
        """Emit the end. Raises DomovoiError when the wheel refused or broke off."""
        if self._error is not None:
            code = Code.BAD_REQUEST if self._error.type == "invalid_request_error" else Code.ENGINE_FAILED
            raise DomovoiError(code, self._error.message[:500])
        if self._was_stopped:
            self._emit(Finished("stopped", self._pieces))
        elif self._reason is None:
            raise DomovoiError(Code.ENGINE_FAILED)
        else:
            self._emit(
                Finished("length" if self._reason == "length" else "end", self._completion_tokens or self._pieces)
            )

    def _on_error(self, error: _Error) -> None:
        if error.type == "exceed_context_size_error":
            self.prompt_tokens = error.n_prompt_tokens
            self.too_long_by = max(1, error.n_prompt_tokens - self._most)
        else:
            self._error = error

    def _on_progress(self, progress: _Progress) -> bool:
        """Take the count that comes before the prompt is read, or a sign of life; true: too long."""
        if self.prompt_tokens:
            self._emit(Working(progress.processed))
            return False
        self.prompt_tokens = progress.total
        self.too_long_by = max(0, progress.total - self._most)
        if not self.too_long_by:
            self._emit(Begun(progress.total, self._dropped))
        return self.too_long_by > 0


def _parameters(parameters: Any, path: str, context_tokens: int, folder: Path) -> Any:
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    parameters.model.path = path
    parameters.n_ctx = context_tokens
    parameters.n_parallel = 1
    parameters.cache_ram_mib = PROMPT_CACHE_MIB
    parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
    # Threads wait for each other at every layer by spinning: with a browser busy on the same cores, one thread
    # less decodes faster, and spinning less leaves the browser its share.
    parameters.cpuparams.n_threads = max(1, cores - 1)
    parameters.cpuparams_batch.n_threads = cores
    parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0
    parameters.verbosity = ERRORS_ONLY
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.hostnames = [str(folder / "none.sock")]
    parameters.n_threads_http = 1
    return parameters


def _request(messages: list[PathMessage], prompt: Prompt) -> bytes:
    sampling = prompt.sampling
    chosen = {
        name: value
        for name in ("temperature", "top_p", "min_p", "top_k", "max_tokens", "seed")
        if (value := getattr(sampling, name)) is not None
    }
    return msgspec.json.encode(
        {
            "messages": [{"role": message.role, "content": message.text} for message in messages],
            "stream": True,
            "return_progress": True,
            "stream_options": {"include_usage": True},
            "stop": prompt.stop,
            **chosen,
        }
    )
