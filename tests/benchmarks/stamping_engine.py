"""accel's engine with a clock: its process ends each text with the moment at which it passed it on.

`python -m tests.benchmarks.stamping_engine PARENT`, as `inference_node.engines.process` is started.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

from msgspec import structs

from inference_node.engines import process
from inference_node.engines.engine import Piece
from inference_node.engines.native import Native

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.engines.engine import EngineEvent, Prompt

MODULE = "tests.benchmarks.stamping_engine"
# Nanoseconds of the monotonic clock, which all processes of a machine share.
STAMP = re.compile(rb"@@(\d+)@@")


class Stamping(Native):
    """The engine that is measured."""

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        def stamped(event: EngineEvent) -> None:
            if isinstance(event, Piece):
                event = structs.replace(event, text=f"{event.text}@@{time.monotonic_ns()}@@")
            report(event)

        super().generate(prompt, stamped, is_stopped)


if __name__ == "__main__":
    process.ENGINES["native"] = (MODULE, "Stamping")
    process.main(int(sys.argv[1]))
