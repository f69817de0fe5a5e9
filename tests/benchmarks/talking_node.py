"""A real node whose engine says words at a steady pace: `python -m tests.benchmarks.talking_node DATA SERVER PORT`.

It prints its address when it is ready, and the time at which it has said the last word of an answer, in ms since 1970.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from inference_node.engines.engine import Piece
from inference_node.main import serve
from inference_node.server.identity import enrol, ensure_identity
from inference_node.settings import NodeSettings
from tests.inference_node.gguf_file import write_gguf
from tests.inference_node.scripted_engine import Script, ScriptedEngine, ScriptedGeneration

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from inference_node.engines.engine import EngineEvent, Prompt

TOKENS = 4_000
TOKENS_PER_SECOND = 200
LAST_WORD = "finis"
# What models write: prose with emphasis, lists, a table and code. About as long as the answers that were measured
# in other apps (16 KB for 4,000 pieces).
SECTION = """## Step {n}: the dough

Double everything, and bake for **{n}0 minutes** in a *hot* oven; see `scale({n})` for the rest of it.

1. Let it cool below 40 °C and read the gauge.
2. Press the valve on the red vessel for a second. Air is good, water is not.
   - Dry paper under it tells which.

| Flour | One loaf | Two loaves |
| :--- | ---: | ---: |
| Rye, dark | 340 g | 680 g |
| Wheat | 60 g | 120 g |

```python
def scale(loaves):  # in grams
    return {{name: round(weight * loaves) for name, weight in LOAF.items()}}
```

> If you smell gas, leave the room and call the gas service first.

"""


def answer() -> list[str]:
    """Return the answer as tokens of about four characters; joined, they are Markdown that ends in `LAST_WORD`."""
    text = "".join(SECTION.format(n=n) for n in range(1, 40))
    size = 4
    tokens = [text[start : start + size] for start in range(0, size * (TOKENS - 1), size)]
    assert len(tokens) == TOKENS - 1
    return [*tokens, f"\n\n{LAST_WORD}"]


class _TalkingEngine(ScriptedEngine):
    def generate(self, prompt: Prompt) -> ScriptedGeneration:
        return _Talk(self, prompt)


class _Talk(ScriptedGeneration):
    """An answer at the pace. A word that is late is said at once, so that the whole takes as long as it should."""

    async def _generate(self) -> AsyncGenerator[EngineEvent, None]:
        async for event in super()._generate():
            yield event
            if isinstance(event, Piece) and event.text.endswith(LAST_WORD):
                print(time.time() * 1000, flush=True)  # noqa: T201  # the benchmark reads it

    async def _own_lines(self) -> AsyncGenerator[str | None, None]:
        started = time.monotonic()
        for number, token in enumerate(answer()):
            await asyncio.sleep(max(0.0, started + number / TOKENS_PER_SECOND - time.monotonic()))
            yield token
        yield None


def main() -> None:
    """Serve until stopped."""
    data, server, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    settings = NodeSettings(data, port=port, server_url=server, allowed_origins=(server,), name="Bench PC")
    enrol(data, ensure_identity(data, settings.name))
    settings.models.mkdir(parents=True, exist_ok=True)
    write_gguf(settings.models / "Talk.gguf")
    script = Script(context=100_000)
    asyncio.run(serve(settings, lambda url: print(url, flush=True), lambda name: _TalkingEngine(script)))  # noqa: T201


if __name__ == "__main__":
    main()
