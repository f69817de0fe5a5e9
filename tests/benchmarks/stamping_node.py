"""A node as a process of its own, whose engine stamps its texts.

`python -m tests.benchmarks.stamping_node DATA` has accel's engine and no server. With a SERVER, whose data folder it
shares, the node is in its tunnel and answers on the network at home; with a PACE too, its engine is a script that says
so many words a second until it is stopped. It prints its loopback address, and on the next line the one at home.
"""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inference_node.engines.child_engine import ChildEngine
from inference_node.main import serve
from inference_node.server.identity import enrol, ensure_identity
from inference_node.settings import NodeSettings
from tests.benchmarks.stamping_engine import MODULE
from tests.inference_node.gguf_file import write_gguf
from tests.inference_node.network.home import Home
from tests.inference_node.scripted_engine import Script, ScriptedEngine, ScriptedGeneration

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from inference_node.engines.engine import Engine, Prompt

NAME = "Bench PC"
SLOTS = 20


class PacingEngine(ScriptedEngine):
    """Says a stamped word `pace` times a second. A word that is late is said at once."""

    def __init__(self, script: Script, pace: float) -> None:
        super().__init__(script)
        self.pace = pace

    def generate(self, prompt: Prompt) -> ScriptedGeneration:
        return _Pacing(self, prompt)


class _Pacing(ScriptedGeneration):
    async def _own_lines(self) -> AsyncGenerator[str | None, None]:
        assert isinstance(self._engine, PacingEngine)
        started = time.monotonic()
        number = 0
        while not self._is_stopped:
            number += 1
            await asyncio.sleep(max(0.0, started + number / self._engine.pace - time.monotonic()))
            yield f"word{number}@@{time.monotonic_ns()}@@ "
        yield None


def main() -> None:
    data, server, pace = Path(sys.argv[1]), *[*sys.argv[2:], None, None][:2]
    make_engine: Callable[[str], Engine] = partial(ChildEngine, module=MODULE)
    if pace is not None:
        script = Script(context=1_000_000, slots=SLOTS)
        make_engine = lambda _: PacingEngine(script, float(pace))  # noqa: E731  # one of two
        (data / "models").mkdir(exist_ok=True)
        write_gguf(data / "models" / "Pace.gguf")
    if server is None:
        settings = NodeSettings(data, port=0, server_url="http://localhost:9", name=NAME, engine="native")
        asyncio.run(serve(settings, _say, make_engine))
        return
    enrol(data, ensure_identity(data, NAME))
    home = Home(pytest.MonkeyPatch())
    address = home.add(1)
    settings = NodeSettings(
        data,
        port=0,
        server_url=server,
        allowed_origins=(server,),
        name=NAME,
        engine=None if pace else "native",
        local_network=True,
    )
    say = partial(_say, home=f"{address} {home.reach(address)}")
    try:
        asyncio.run(serve(settings, say, make_engine, read_table=home.table))
    finally:
        home.close()


def _say(url: str, home: str | None = None) -> None:
    print(url if home is None else f"{url}\n{home}", flush=True)  # noqa: T201  # the benchmark reads it


if __name__ == "__main__":
    main()
