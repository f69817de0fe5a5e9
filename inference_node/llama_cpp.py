"""llama.cpp in this process, through the `xllamacpp` wheel. Only the engine process imports this.

The wheel wraps llama.cpp's server, calls it without HTTP, but starts its listener all the same. It gets a socket
file in a private folder that is removed as soon as the model is loaded, so that nobody can ever connect.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from typing import TYPE_CHECKING, Literal

import msgspec
import xllamacpp  # type: ignore[import-untyped]
from msgspec import Struct

from inference_node.engine import ChatMessage, EngineEvent, Finished, LoadedModel, Piece, Prompt, PromptTooLong, Reading
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

# The model's own context is used up to here; at 8192 tokens a small model's cache already takes 200 MB.
MOST_CONTEXT = 8192
# Prompts kept in memory for reuse. The default of 8192 exhausts a small machine.
CACHE_MIB = 256
# Tokens read between two looks at whether to stop: half a second even on a slow core.
BATCH = 128
# A small model that never ends its answer is cut here, unless the request says otherwise.
MOST_ANSWER_TOKENS = 2048
# Ollama's default. Without it (llama.cpp's 1.0) the small model falls into loops that only the limit above ends.
REPEAT_PENALTY = 1.1


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
                self._server = xllamacpp.Server(parameters_for(path, os.path.join(folder, "engine.sock")))
            except RuntimeError as error:
                raise DomovoiError(Code.MODEL_DAMAGED) from error
        self.loaded = LoadedModel(context=self._context())

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        """Report the events of an answer. Raises PromptTooLong, DomovoiError `engine_failed`."""
        generation = _Generation(report, is_stopped, self.loaded.context - prompt.room)
        self._server.handle_chat_completions(msgspec.json.encode(request_for(prompt)), generation.on_chunk)
        generation.finish()

    def _context(self) -> int:
        """Ask with a prompt that surely does not fit: the refusal names the context."""
        answer: list[bytes] = []
        request = {"messages": [ChatMessage("user", " a" * 2 * MOST_CONTEXT)], "max_tokens": 1}
        self._server.handle_chat_completions(msgspec.json.encode(request), answer.append)
        refusal = msgspec.json.decode(answer[0], type=_Refusal).error
        return refusal.n_ctx if refusal is not None and refusal.n_ctx else MOST_CONTEXT


class _Refusal(Struct):
    error: _Error | None = None


class _Generation:
    """One answer as its chunks come in."""

    def __init__(
        self, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool], most_prompt_tokens: int
    ) -> None:
        self._report = report
        self._is_stopped = is_stopped
        self._most_prompt_tokens = most_prompt_tokens
        self._reason: Literal["end", "length", "stopped"] = "stopped"
        self._pieces = 0
        self._usage = _Usage(0, 0)
        self._failure: DomovoiError | None = None

    def on_chunk(self, data: bytes) -> bool:
        """Report what a chunk says; return whether to end here."""
        chunk = _decoder.decode(data)
        if chunk.error is not None:
            self._failure = _failure(chunk.error)
        elif chunk.prompt_progress is not None:
            self._on_progress(chunk.prompt_progress)
        for choice in chunk.choices:
            if choice.delta.content:
                self._pieces += 1
                self._report(Piece(choice.delta.content))
            if choice.finish_reason is not None:
                self._reason = "length" if choice.finish_reason == "length" else "end"
        self._usage = chunk.usage or self._usage
        # Once the answer is complete, only its counts are still to come.
        return self._failure is not None or (self._reason == "stopped" and self._is_stopped())

    def finish(self) -> None:
        """Report the end. Raises what made the answer fail."""
        if self._failure is not None:
            raise self._failure
        completion_tokens = self._usage.completion_tokens or self._pieces
        self._report(Finished(self._reason, self._usage.prompt_tokens, completion_tokens))

    def _on_progress(self, progress: _Progress) -> None:
        """The first one comes before the prompt is read, and says how long it is."""
        if progress.total > self._most_prompt_tokens:
            self._failure = PromptTooLong(progress.total)
        else:
            self._usage = _Usage(progress.total, 0)
            self._report(Reading(progress.processed, progress.total))


def parameters_for(path: str, socket: str) -> xllamacpp.CommonParams:
    """Return how a model is loaded; `socket` is where the listener that can't be turned off listens."""
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
        cpu.n_threads = cores()
        # Waiting threads sleep. Spinning ones take turns with whatever else runs: with one core busy, two of two
        # threads fell from 83 to 3 tokens/s when spinning and to 75 when sleeping, and are no faster when quiet.
        cpu.poll = 0
    return parameters


def cores() -> int:
    """Return how many cores this process may use: as many threads compute."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def request_for(prompt: Prompt) -> dict[str, object]:
    """Return the prompt as llama.cpp's server takes it."""
    sampling = {name: value for name, value in msgspec.to_builtins(prompt.sampling).items() if value is not None}
    return {
        "max_tokens": MOST_ANSWER_TOKENS,
        "repeat_penalty": REPEAT_PENALTY,
        **sampling,
        "messages": prompt.messages,
        "stop": prompt.stop,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }


def _failure(error: _Error) -> DomovoiError:
    if error.n_prompt_tokens is not None:
        return PromptTooLong(error.n_prompt_tokens)
    return DomovoiError(Code.ENGINE_FAILED, error.message or None)
