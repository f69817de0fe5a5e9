"""An engine process without a model, which does what its prompts say: `python -m tests.inference_node.talker PARENT`.

For tests of what is around an engine. The last word of a prompt is what happens: a number of words is said; "hang"
says nothing for ever and answers pings; "abort" is how Rust ends where an allocation fails; "crash", "exhaust" and
"flood" do what they say.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from inference_node.engines import process as engine_process
from inference_node.engines.engine import Embeddings, Finished, LoadedModel, Piece, Reading
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.engines.engine import EngineEvent, EngineOptions, Prompt

MODULE = "tests.inference_node.talker"
FLOOD = 200_000


class Talker:
    """Loads anything at once."""

    def __init__(self, path: str, options: EngineOptions, progress: Callable[[int, int], None]) -> None:
        progress(1, 1)
        self.loaded = LoadedModel(1000, options.slots)

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        task = prompt.messages[-1].content.split()[-1]
        report(Reading(1, 1))
        match task:
            case "hang":
                threading.Event().wait()
            case "crash":
                report(Piece("Half a "))
                os.abort()
            case "exhaust":
                raise MemoryError
            case "abort":
                # As Rust does, which writes piece by piece.
                for words in (b"memory allocation of ", b"320000", b" bytes failed\n"):
                    os.write(2, words)
                os.abort()
            case "refuse":
                raise DomovoiError(Code.ENGINE_FAILED, "It can't.")
            case "wait":
                report(Piece("Yes? "))
                while not is_stopped():
                    threading.Event().wait(0.001)
                report(Finished("stopped", 1, 1))
            case _:
                self._talk(FLOOD if task == "flood" else int(task) if task.isdigit() else 1, report, is_stopped)

    def embed(self, texts: list[str]) -> Embeddings:
        raise DomovoiError(Code.UNSUPPORTED)

    def _talk(self, words: int, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        for said in range(words):
            if is_stopped():
                report(Finished("stopped", 1, said))
                return
            report(Piece("word "))
        report(Finished("end", 1, words))


if __name__ == "__main__":
    engine_process.ENGINES["talker"] = (MODULE, "Talker")
    engine_process.main(int(sys.argv[1]))
