"""accel's own engine in this process: pure Rust, for the models that it knows. Only the engine process imports this."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import psutil
from msgspec import Struct

from inference_node.accelerator import accel
from inference_node.engines.engine import (
    Alternative,
    Embeddings,
    EngineEvent,
    EngineOptions,
    Finished,
    LoadedModel,
    Piece,
    Prompt,
    PromptTooLong,
    Reading,
    Token,
)
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

# Keys and values of all answers take at most this share of the memory that is free.
CACHE_SHARE = 0.25
# A small model that never ends its answer is cut here, unless the request says otherwise.
MOST_ANSWER_TOKENS = 2048
# Ollama's default. Without it the small model falls into loops that only the limit above ends.
REPEAT_PENALTY = 1.1
# An answer that has nothing to say yet looks this often whether it is stopped, seconds.
LOOK_EVERY_S = 0.1

_CODES = {
    "Damaged": Code.MODEL_DAMAGED,
    "Unsupported": Code.UNSUPPORTED,
    "OutOfMemory": Code.OUT_OF_MEMORY,
    "BadRequest": Code.BAD_REQUEST,
}


class Native:
    """One loaded model. Methods block, and may be called from several threads at once."""

    def __init__(self, path: str, options: EngineOptions, progress: Callable[[int, int], None]) -> None:
        """Load a GGUF file; `progress` takes bytes done and in all.

        Raises DomovoiError `model_damaged`, `unsupported`, `out_of_memory`.
        """
        if accel is None:
            raise DomovoiError(Code.UNSUPPORTED, "accel is not built here: install Rust (cargo), then run make accel.")
        asked = {
            "context": options.context,
            "slots": options.slots,
            "cache": options.cache,
            "cache_bytes": int(psutil.virtual_memory().available * CACHE_SHARE),
        }
        try:
            self._engine = accel.Engine(path, msgspec.json.encode(asked), progress)
        except accel.EngineError as error:
            raise _translated(error) from error
        self.loaded = msgspec.convert(msgspec.json.decode(self._engine.description), LoadedModel)

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        """Report the events of an answer.

        Raises PromptTooLong, DomovoiError `bad_request`, `unsupported`, `out_of_memory`, `engine_failed`.
        """
        try:
            generation = self._engine.start(request_for(prompt))
            while (events := generation.next(LOOK_EVERY_S)) != b"[]":
                if is_stopped():
                    generation.stop()
                for event in _events.decode(events or b"[]"):
                    report(_piece(event) if isinstance(event, _Piece) else event)
        except accel.EngineError as error:
            raise _translated(error) from error

    def embed(self, texts: list[str]) -> Embeddings:
        """Return the texts' embeddings. Raises PromptTooLong, DomovoiError `unsupported`, `engine_failed`."""
        try:
            made = [self._engine.embed(text) for text in texts]
        except accel.EngineError as error:
            raise _translated(error) from error
        return Embeddings([vector for vector, _ in made], sum(tokens for _, tokens in made))


class _Likely(Struct, frozen=True):
    text: str
    bytes: list[int]
    logprob: float
    alternatives: list[_Likely] = []


class _Piece(Struct, frozen=True, tag="piece"):
    text: str
    count: int
    tokens: list[_Likely] = []


_events = msgspec.json.Decoder(list[Reading | _Piece | Finished])


def request_for(prompt: Prompt) -> bytes:
    """Return the prompt as accel takes it: JSON with the names of `engine.Prompt`."""
    # Braces and quotes repeat, so an answer that is held to a schema is not punished for them.
    penalty = 1.0 if prompt.schema is not None else REPEAT_PENALTY
    request = msgspec.to_builtins(prompt)
    request["sampling"] = {"max_tokens": MOST_ANSWER_TOKENS, "repeat_penalty": penalty} | request.get("sampling", {})
    return msgspec.json.encode(request)


def _piece(piece: _Piece) -> Piece:
    tokens = [
        Token(
            token.text,
            bytes(token.bytes),
            token.logprob,
            [Alternative(other.text, bytes(other.bytes), other.logprob) for other in token.alternatives],
        )
        for token in piece.tokens
    ]
    return Piece(piece.text, piece.count, tokens)


def _translated(error: Exception) -> DomovoiError:
    """Return what an `accel.EngineError` is to the node."""
    if isinstance(error, accel.TooLong):
        return PromptTooLong(error.tokens)
    return DomovoiError(_CODES.get(type(error).__name__, Code.ENGINE_FAILED), f"{error}")
