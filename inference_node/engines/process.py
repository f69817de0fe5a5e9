"""The engine process: `python -m inference_node.engines.process PARENT`. It has no network, and ends with its input.

A crash of the engine's native code ends this process and not the node.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Protocol

from inference_node import isolation
from inference_node.engines.engine import Embeddings, LoadProgress, PromptTooLong, Reading
from inference_node.engines.messages import (
    LENGTH,
    Embed,
    Failed,
    Generate,
    Load,
    Ping,
    Pong,
    Report,
    Stop,
    Task,
    TooLong,
    pack,
    read_command,
)
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from inference_node.engines.engine import EngineEvent, LoadedModel, Prompt


# Module and class of each engine, the best first. Imported only when asked for, as each brings native code.
ENGINES = {
    "native": ("inference_node.engines.native", "Native"),
    "llama_cpp": ("inference_node.engines.llama_cpp", "LlamaCpp"),
}


# Texts that an engine embeds before it is asked again.
TEXTS_AT_ONCE = 8


class BlockingEngine(Protocol):
    """An engine inside the engine process. Loading is its construction:

    `__init__(path: str, options: EngineOptions, progress: Callable[[int, int], None])`, where `progress` takes bytes
    done and in all. Raises DomovoiError `model_damaged`, `unsupported`, `out_of_memory`.
    """

    @property
    def loaded(self) -> LoadedModel:
        """What is loaded."""

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        """Report the events of an answer, `Finished` last; called from a thread for each generation.

        `is_stopped` is asked at least once for every token and every half second of reading. Raises what
        `engine.Generation` does.
        """

    def embed(self, texts: list[str]) -> Embeddings:
        """Return the texts' embeddings. Raises DomovoiError `unsupported`."""


class EngineProcess:
    """Reads commands in one thread and does each task in one of its own, so that a stop is heard in mid-answer."""

    def __init__(self, commands: BinaryIO, reports: BinaryIO) -> None:
        self._commands = commands
        self._reports = reports
        self._writing = threading.Lock()
        self._stops: dict[int, threading.Event] = {}
        self._engine: BlockingEngine | None = None

    def run(self) -> None:
        """Serve until the input ends."""
        while head := self._commands.read(LENGTH.size):
            number, command = read_command(self._commands.read(LENGTH.unpack(head)[0]))
            match command:
                case Ping():
                    self._report(number, Pong())
                case Stop():
                    if (stop := self._stops.get(number)) is not None:
                        stop.set()
                case _:
                    stop = self._stops[number] = threading.Event()
                    threading.Thread(target=self._work, args=(number, command, stop), daemon=True).start()

    def _work(self, number: int, task: Task, stop: threading.Event) -> None:
        try:
            self._do(number, task, stop)
        except PromptTooLong as error:
            self._report(number, TooLong(error.tokens))
        except DomovoiError as error:
            self._report(number, Failed(error.code, error.detail))
        except MemoryError:
            self._report(number, Failed(Code.OUT_OF_MEMORY, ""))
        finally:
            del self._stops[number]

    def _do(self, number: int, task: Task, stop: threading.Event) -> None:
        match task:
            case Load():
                self._engine = self._load(number, task)
                self._report(number, self._engine.loaded)
            case Generate(prompt):
                self._loaded().generate(prompt, lambda event: self._report(number, event), stop.is_set)
            case Embed(texts):
                self._embed(number, texts, stop)

    def _embed(self, number: int, texts: list[str], stop: threading.Event) -> None:
        """Go on by a few texts at a time: between them are signs of life, and the end if nobody waits any more."""
        vectors: list[list[float]] = []
        tokens = 0
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            if stop.is_set():
                raise DomovoiError(Code.ENGINE_FAILED, "Nobody waits for it.")
            made = self._loaded().embed(texts[start : start + TEXTS_AT_ONCE])
            vectors += made.vectors
            tokens += made.tokens
            self._report(number, Reading(len(vectors), len(texts)))
        self._report(number, Embeddings(vectors, tokens))

    def _load(self, number: int, task: Load) -> BlockingEngine:
        module, name = ENGINES[task.engine]
        try:
            make: Callable[..., BlockingEngine] = getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise DomovoiError(Code.UNSUPPORTED, f"{task.engine} is not installed: {error}.") from error
        if task.options.memory is not None:
            isolation.limit_memory(task.options.memory)
        return make(task.path, task.options, lambda done, total: self._report(number, LoadProgress(done, total)))

    def _loaded(self) -> BlockingEngine:
        if self._engine is None:
            raise DomovoiError(Code.ENGINE_FAILED, "No model is loaded.")
        return self._engine

    def _report(self, number: int, report: Report) -> None:
        data = pack(number, report)
        with self._writing:
            self._reports.write(data)
            self._reports.flush()


def main(parent: int) -> None:
    """Keep stdin and stdout for the node alone, and serve it for as long as the parent process lives."""
    isolation.isolate(parent)
    commands = os.fdopen(os.dup(0), "rb")
    reports = os.fdopen(os.dup(1), "wb")
    # llama.cpp prints to stdout; a stray line there would be taken for a report.
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    threading.excepthook = _end
    EngineProcess(commands, reports).run()
    # Native threads may be in mid-computation; the memory goes back to the system either way.
    os._exit(0)


def _end(failure: threading.ExceptHookArgs) -> None:
    """A fault of ours: the node sees the process end, keeps what came, and starts another."""
    sys.excepthook(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
