"""The engine's process: `python -m inference_node.engine_process`. No network; it ends when its input does.

Commands come on standard input and reports go to what was standard output. The engine prints there too, so the
node's channel is a private copy and the original becomes standard error.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

from inference_node.engine_messages import (
    HEAD,
    Command,
    Failed,
    Generate,
    Load,
    Loaded,
    Loading,
    Report,
    Said,
    Stop,
    command_decoder,
    frame,
)
from inference_node.llama_cpp import LlamaCpp
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from inference_node.engine import EngineEvent


class EngineProcess:
    """Reads commands on one thread, so that a stop is heard, and works on another."""

    def __init__(self, commands: BinaryIO, reports: BinaryIO) -> None:
        self._commands = commands
        self._reports = reports
        self._work: queue.SimpleQueue[Load | Generate] = queue.SimpleQueue()
        self._stopped_number = 0
        self._engine: LlamaCpp | None = None

    def run(self) -> None:
        """Serve until the node closes the channel."""
        threading.Thread(target=self._work_off, daemon=True).start()
        while (command := self._read()) is not None:
            if isinstance(command, Stop):
                self._stopped_number = command.number
            else:
                self._work.put(command)

    def _read(self) -> Command | None:
        head = self._commands.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        (length,) = HEAD.unpack(head)
        body = self._commands.read(length)
        return command_decoder.decode(body) if len(body) == length else None

    def _report(self, report: Report) -> None:
        self._reports.write(frame(report))
        self._reports.flush()

    def _work_off(self) -> None:
        while True:
            command = self._work.get()
            number = command.number if isinstance(command, Generate) else 0
            try:
                if isinstance(command, Generate):
                    self._generate(command)
                else:
                    self._load(command)
            except DomovoiError as error:
                self._report(Failed(number, error.code, error.detail))
            except BrokenPipeError:
                return

    def _load(self, command: Load) -> None:
        self._report(Loading(0.0))
        # The old model goes first: two may not fit.
        self._engine = None
        self._engine = LlamaCpp(command.path, command.context_tokens)
        self._report(Loading(1.0))
        self._report(Loaded())

    def _generate(self, command: Generate) -> None:
        if self._engine is None:
            raise DomovoiError(Code.ENGINE_FAILED)

        def emit(event: EngineEvent) -> None:
            self._report(Said(command.number, event))

        self._engine.generate(command.prompt, emit, lambda: self._stopped_number >= command.number)


def main() -> None:
    """Take the channel away from standard input and output, then serve."""
    # Ctrl+C goes to the whole terminal; the node decides when its engine ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    commands = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    EngineProcess(commands, reports).run()
    # Without ceremony: the engine may be in the middle of a token, and nobody waits for it any more.
    os._exit(0)


if __name__ == "__main__":
    main()
