"""An engine that says what its question asks for, and stands still where that says: for chaos runs alone.

`python -m tests.chaos.engine PARENT`, as `inference_node.engines.process` is started. Each generation that begins is a
line of `generations` in the folder that DOMOVOI_CHAOS names: its run, its own name, its process.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from inference_node.engines import process
from inference_node.engines.engine import Finished, LoadedModel, Piece, Reading
from tests.chaos.script import NONCE_CHARACTERS, Script, script_of, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.engines.engine import EngineEvent, EngineOptions, Prompt

MODULE = "tests.chaos.engine"
FOLDER = "DOMOVOI_CHAOS"
GENERATIONS = "generations"
LOOK_EVERY_S = 0.002


def standing(folder: Path, name: str, stop: int) -> Path:
    """Return the file that an engine makes when it stands still at a stop."""
    return folder / f"{name}.{stop}.at"


def going(folder: Path, name: str, stop: int) -> Path:
    """Return the file whose making lets it go on."""
    return folder / f"{name}.{stop}.go"


class Stage:
    """What an engine of a chaos run does besides answering: it says that it has begun, and stands where it is told."""

    def __init__(self, script: Script, is_stopped: Callable[[], bool]) -> None:
        self.nonce = secrets.token_hex(NONCE_CHARACTERS // 2)
        self._script = script
        self._is_stopped = is_stopped
        self._stops = list(script.stops)
        self._folder = Path(os.environ[FOLDER])
        with (self._folder / GENERATIONS).open("a", encoding="ascii") as journal:
            journal.write(f"{script.name} {self.nonce} {os.getpid()}\n")

    def stand(self, said: int) -> None:
        """Stand still at each stop that so many words have come to."""
        while self._stops and self._stops[0] <= said:
            stop = self._stops.pop(0)
            standing(self._folder, self._script.name, stop).touch()
            while not going(self._folder, self._script.name, stop).exists() and not self._is_stopped():
                time.sleep(LOOK_EVERY_S)

    def leave(self) -> None:
        """The answer ends here: nobody has to wait for the stops that it never came to."""
        for stop in self._stops:
            standing(self._folder, self._script.name, stop).touch()


class Speaker:
    """The engine, in the process of its own that the node gives it."""

    def __init__(self, path: str, options: EngineOptions, progress: Callable[[int, int], None]) -> None:
        progress(1, 1)
        self.loaded = LoadedModel(options.context, options.slots)

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        """Say the words. What is no question of a chaos run, as the probe of a new engine, gets none."""
        script = script_of(prompt.messages[-1].content) if prompt.messages else None
        if script is None:
            report(Finished("length", 1, 1))
            return
        stage = Stage(script, is_stopped)
        report(Reading(1, 1))
        for number in range(script.words):
            stage.stand(number)
            if is_stopped():
                stage.leave()
                report(Finished("stopped", 1, number))
                return
            report(Piece(word(script, stage.nonce, number)))
            time.sleep(script.pause_s)
        report(Finished("end", 1, script.words))

    def embed(self, texts: list[str]) -> None:
        """Nobody asks for it."""
        raise NotImplementedError


if __name__ == "__main__":
    process.ENGINES.update(llama_cpp=(MODULE, "Speaker"), native=("tests.chaos.thinker", "Thinker"))
    process.main(int(sys.argv[1]))
