"""The engine process: `python -m inference_node.engine_process`. It has no network, and ends when its input does.

A crash of the engine's native code ends this process and not the node.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import TYPE_CHECKING

from inference_node.engine import PromptTooLong
from inference_node.engine_messages import (
    LENGTH,
    Failed,
    Generate,
    Load,
    Loaded,
    Report,
    Stop,
    Task,
    TooLong,
    pack,
    read_command,
)
from inference_node.llama_cpp import LlamaCpp
from shared.errors import DomovoiError

if TYPE_CHECKING:
    from typing import BinaryIO


class EngineProcess:
    """Reads commands in one thread and works in another, so that a stop is heard in mid-answer."""

    def __init__(self, commands: BinaryIO, reports: BinaryIO) -> None:
        self._commands = commands
        self._reports = reports
        self._tasks: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
        self._stopped = 0
        self._engine: LlamaCpp | None = None

    def run(self) -> None:
        """Serve until the input ends."""
        threading.Thread(target=self._work, daemon=True).start()
        received = 0
        while head := self._commands.read(LENGTH.size):
            command = read_command(self._commands.read(LENGTH.unpack(head)[0]))
            if isinstance(command, Stop):
                self._stopped = command.number
            else:
                received += 1
                self._tasks.put((received, command))

    def _work(self) -> None:
        while True:
            number, task = self._tasks.get()
            try:
                self._do(number, task)
            except PromptTooLong as error:
                self._report(TooLong(error.tokens))
            except DomovoiError as error:
                self._report(Failed(error.code, error.detail))

    def _do(self, number: int, task: Task) -> None:
        match task, self._engine:
            case Load(), _:
                self._engine = LlamaCpp(task.path)
                self._report(Loaded(self._engine.loaded))
            case Generate(), LlamaCpp() as engine:
                engine.generate(task.prompt, self._report, lambda: self._stopped == number)
            case _:
                raise ValueError("a task before Load")

    def _report(self, report: Report) -> None:
        self._reports.write(pack(report))
        self._reports.flush()


def main() -> None:
    """Keep stdin and stdout for the node alone, and serve it."""
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
    main()
