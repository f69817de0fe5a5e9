"""llama.cpp in this process, through the `xllamacpp` wheel. Only the engine process imports this.

The wheel wraps llama.cpp's server, calls it without HTTP, but starts its listener all the same. It gets a socket
file in a private folder that is removed as soon as the model is loaded, so that nobody can ever connect.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec
import psutil
import xllamacpp  # type: ignore[import-untyped]
from msgspec import Struct

from inference_node.engines.engine import (
    Embeddings,
    EngineEvent,
    EngineOptions,
    Finished,
    LoadedModel,
    Prompt,
    PromptTooLong,
)
from inference_node.engines.llama_cpp_wire import ChunkReader, request_for
from inference_node.engines.prompt_slots import PromptSlots
from inference_node.gguf.header import GgufError, GgufHeader, read_header
from inference_node.gguf.vocabulary import Spelling, control_texts
from inference_node.hardware import limits, processor
from inference_node.hardware.roots import THIS_MACHINE
from inference_node.loading import fitting
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

# llama.cpp rounds contexts to this.
CONTEXT_STEP = 256
# Tokens read between two looks at whether to stop: half a second even on a slow core.
BATCH = 128
# HTTP's number, as llama.cpp's server says it.
BAD_REQUEST = 400
BLOCK_BYTES = 8 * 1024 * 1024

_CACHE_TYPES = {"f16": xllamacpp.ggml_type.GGML_TYPE_F16, "q8_0": xllamacpp.ggml_type.GGML_TYPE_Q8_0}


class LlamaCpp:
    """One loaded model. Methods block, and may be called from several threads at once."""

    def __init__(self, path: str, options: EngineOptions, progress: Callable[[int, int], None]) -> None:
        """Load a GGUF file; `progress` takes bytes done and in all.

        Raises DomovoiError `model_damaged`, `unsupported`, `out_of_memory`.
        """
        header = header_of(Path(path))
        if header.can_rank:
            raise DomovoiError(Code.UNSUPPORTED, "This model ranks texts, and neither answers nor makes embeddings.")
        self.loaded = plan_for(header, options)
        _read_ahead(path, progress)
        with tempfile.TemporaryDirectory(prefix="domovoi-") as folder:
            parameters = parameters_for(path, os.path.join(folder, "engine.sock"), self.loaded, options)
            self._server = _serve(parameters)
        self._slots = PromptSlots(self.loaded.slots)
        self._spelling = Spelling(_controls(Path(path)))

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        """Report the events of an answer. Raises PromptTooLong, DomovoiError `bad_request`, `engine_failed`."""
        if self.loaded.can_embed:
            raise DomovoiError(Code.UNSUPPORTED, "This model makes embeddings and no answers. Choose another.")
        request = request_for(prompt, self._spelling)
        with self._slots.take(prompt, is_stopped) as slot:
            if slot is None:
                report(Finished("stopped", 0, 0))
                return
            request |= {"id_slot": slot.number, "cache_prompt": slot.may_reuse}
            reader = ChunkReader(prompt, self.loaded.context, report, is_stopped)
            handle = self._server.handle_chat_completions if prompt.text is None else self._server.handle_completions
            try:
                handle(msgspec.json.encode(request), reader.on_chunk)
            except (ValueError, RuntimeError) as error:
                # Before any work: a schema or tools that it can't use, or messages that the template refuses.
                raise DomovoiError(Code.BAD_REQUEST, f"{error}") from error
        reader.finish()

    def embed(self, texts: list[str]) -> Embeddings:
        """Return the texts' embeddings.

        Raises PromptTooLong, DomovoiError `unsupported`, `bad_request`, `engine_failed`.
        """
        if not self.loaded.can_embed:
            raise DomovoiError(Code.UNSUPPORTED, "This model answers and makes no embeddings. Choose another.")
        answer = msgspec.json.decode(self._server.handle_embeddings(msgspec.json.encode({"input": texts})))
        result = msgspec.convert(answer, _EmbeddingsAnswer)
        if result.error is not None:
            raise _embedding_failure(result.error)
        vectors = [row.embedding for row in sorted(result.data, key=lambda row: row.index)]
        return Embeddings(vectors, result.usage.prompt_tokens)


class _Vector(Struct, frozen=True):
    index: int
    embedding: list[float]


class _EmbeddingsUsage(Struct, frozen=True):
    prompt_tokens: int = 0


class _EmbeddingsError(Struct, frozen=True):
    code: int = 0
    message: str = ""


class _EmbeddingsAnswer(Struct, frozen=True):
    data: list[_Vector] = []
    usage: _EmbeddingsUsage = _EmbeddingsUsage()
    error: _EmbeddingsError | None = None


_TOO_LARGE = re.compile(r"\((\d+) tokens\) (?:is too large|exceeds)")


def _embedding_failure(error: _EmbeddingsError) -> DomovoiError:
    """A text that can't be used is no failure of the engine."""
    if (too_large := _TOO_LARGE.search(error.message)) is not None:
        return PromptTooLong(int(too_large[1]))
    return DomovoiError(Code.BAD_REQUEST if error.code == BAD_REQUEST else Code.ENGINE_FAILED, error.message)


def parameters_for(path: str, socket: str, plan: LoadedModel, options: EngineOptions) -> xllamacpp.CommonParams:
    """Return how a model is loaded; `socket` is where the listener that can't be turned off listens."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.hostnames = [socket]
    # Should the folder outlive a crash, its socket still opens to nobody.
    parameters.api_keys = [secrets.token_hex(32)]
    parameters.n_threads_http = 1
    parameters.ui = False
    parameters.endpoint_slots = False
    # Divided among the slots, so that a long chat never takes the room of another in mid-answer.
    parameters.n_ctx = plan.context * plan.slots
    parameters.n_parallel = plan.slots
    parameters.cache_type_k = parameters.cache_type_v = _CACHE_TYPES[options.cache]
    # It knows no owners: what prompts leave behind is kept in their slots alone.
    parameters.cache_ram_mib = 0
    parameters.n_batch = BATCH
    parameters.n_ubatch = BATCH
    parameters.embedding = plan.can_embed
    if plan.can_embed:
        parameters.n_batch = parameters.n_ubatch = plan.context
    # Errors alone: they say why a model can't be loaded.
    parameters.verbosity = 1
    parameters.fit_params = False
    # Text is passed on as the model writes it: nothing is taken out as reasoning.
    parameters.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    for cpu in (parameters.cpuparams, parameters.cpuparams_batch):
        cpu.n_threads = plan.threads
        # Waiting threads sleep. Spinning ones take turns with whatever else runs: with one core busy, two of two
        # threads fell from 83 to 3 tokens/s when spinning and to 75 when sleeping, and are no faster when quiet.
        cpu.poll = 0
    return parameters


def cores() -> int:
    """Return how many threads compute: one for each core that this process may have (`fitting.threads`)."""
    return fitting.threads(processor.read(THIS_MACHINE), limits.read(THIS_MACHINE))


def header_of(path: Path) -> GgufHeader:
    """Return what the file says of itself. Raises DomovoiError `model_damaged`."""
    try:
        return read_header(path)
    except (GgufError, OSError) as error:
        raise DomovoiError(Code.MODEL_DAMAGED, f"{path.name} can't be used: {error}.") from error


def _controls(path: Path) -> list[str]:
    try:
        return control_texts(path)
    except (GgufError, OSError) as error:
        raise DomovoiError(Code.MODEL_DAMAGED, f"{path.name} can't be used: {error}.") from error


def plan_for(header: GgufHeader, options: EngineOptions) -> LoadedModel:
    """Decide on context and slots: the model's own context up to what is asked."""
    context = min(options.context, header.context or options.context)
    context = max(context // CONTEXT_STEP, 1) * CONTEXT_STEP
    return LoadedModel(
        context=context,
        # Of texts that share a batch, llama.cpp pools the last piece alone: their vectors were wrong.
        slots=1 if header.can_embed else options.slots,
        can_embed=header.can_embed,
        architecture=header.architecture,
        quantisation=header.quantisation,
        instructions=_instructions(),
        threads=cores(),
    )


def _serve(parameters: xllamacpp.CommonParams) -> xllamacpp.Server:
    """Load. Raises DomovoiError `out_of_memory`, `unsupported`, `model_damaged`; which, llama.cpp says on stderr."""
    with tempfile.TemporaryFile() as words:
        stderr = os.dup(2)
        os.dup2(words.fileno(), 2)
        try:
            return xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise _load_failure(_said(words)) from error
        finally:
            os.write(stderr, _said(words).encode())
            os.dup2(stderr, 2)
            os.close(stderr)


def _said(words: IO[bytes]) -> str:
    words.seek(0)
    return words.read().decode("utf-8", "replace")


# How llama.cpp, C++ and the system say it. A file that was read in part then looks damaged, and is not.
_NO_MEMORY = ("failed to allocate", "insufficient memory", "Cannot allocate memory", "bad_alloc")


def _load_failure(said: str) -> DomovoiError:
    if any(words in said for words in _NO_MEMORY):
        return DomovoiError(Code.OUT_OF_MEMORY)
    if "unknown model architecture" in said or "unknown pre-tokenizer" in said:
        return DomovoiError(Code.UNSUPPORTED, "llama.cpp does not know this kind of model. Choose another.")
    return DomovoiError(Code.MODEL_DAMAGED)


def _instructions() -> str:
    """Return the instruction sets that llama.cpp uses: "AVX2 FMA F16C"."""
    _, _, features = xllamacpp.get_system_info().partition(":")
    found = [
        name.strip() for name, _, value in (item.partition("=") for item in features.split("|")) if value.strip() == "1"
    ]
    return " ".join(name for name in found if name not in {"OPENMP", "LLAMAFILE", "REPACK"})


def _read_ahead(path: str, progress: Callable[[int, int], None]) -> None:
    """Read the file into the system's cache: that is what loading waits for, and llama.cpp does not tell."""
    total = os.path.getsize(path)
    done = 0
    progress(done, total)
    if total < psutil.virtual_memory().available:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                done += len(block)
                progress(done, total)
