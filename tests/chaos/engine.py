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


class Speaker:
    """The engine, in the process of its own that the node gives it."""

    def __init__(self, path: str, options: EngineOptions, progress: Callable[[int, int], None]) -> None:
        progress(1, 1)
        self.loaded = LoadedModel(options.context, options.slots)
        self._folder = Path(os.environ[FOLDER])

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        """Say the words. What is no question of a chaos run, as the probe of a new engine, gets none."""
        script = script_of(prompt.messages[-1].content) if prompt.messages else None
        if script is None:
            report(Finished("length", 1, 1))
            return
        nonce = secrets.token_hex(NONCE_CHARACTERS // 2)
        with (self._folder / GENERATIONS).open("a", encoding="ascii") as journal:
            journal.write(f"{script.name} {nonce} {os.getpid()}\n")
        report(Reading(1, 1))
        for number in range(script.words):
            if number in script.stops:
                self._stand(script, number, is_stopped)
            if is_stopped():
                report(Finished("stopped", 1, number))
                return
            report(Piece(word(script, nonce, number)))
            time.sleep(script.pause_s)
        report(Finished("end", 1, script.words))

    def embed(self, texts: list[str]) -> None:
        """Nobody asks for it."""
        raise NotImplementedError

    def _stand(self, script: Script, number: int, is_stopped: Callable[[], bool]) -> None:
        standing(self._folder, script.name, number).touch()
        while not going(self._folder, script.name, number).exists() and not is_stopped():
            time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    process.ENGINES["llama_cpp"] = (MODULE, "Speaker")
    process.main(int(sys.argv[1]))
