"""What the node adds to the engine's own time: a child process, a run with its replay buffer, server-sent events.

Node, engine and reader are processes of their own, as they are for people, and the reader does next to nothing with
what it gets: what a program's own code costs is not the node's.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np

from inference_node.loading.quiet import others_share
from shared.runs import Ended, RunEvent
from shared.values import Sampling
from tests.benchmarks.contestants import Timing
from tests.benchmarks.stamping_engine import STAMP
from tests.benchmarks.turns import ROUNDS, Figure, Turns
from tests.inference_node.running_node import RunningNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# Of a token, milliseconds.
OVERHEAD_TARGET = 1.0


class Through(NamedTuple):
    """An answer as its reader got it: `late_ms` is how long each text was on its way from the engine's process."""

    timing: Timing
    late_ms: list[float]


async def measure(turns: Turns, ask_engine: Callable[[], Timing], model: Path, question: str, tokens: int) -> None:
    """Let a node answer the same, in turns with the engine."""
    if not turns.has_time("sse_tokens_per_second"):
        return
    pairs: list[tuple[Through, Timing]] = []
    share = others_share()
    with tempfile.TemporaryDirectory() as folder:
        async with _node(Path(folder) / "data", model) as node:
            # The first round warms both up; who comes first changes, so that neither is always the warmer one.
            for number in range(ROUNDS + 1):
                if number % 2:
                    through, raw = await _through(node, question, tokens), await asyncio.to_thread(ask_engine)
                else:
                    raw, through = await asyncio.to_thread(ask_engine), await _through(node, question, tokens)
                pairs.append((through, raw))
    share = max(share, others_share())
    del pairs[0]
    workload = f"SmolLM2-135M Q4_1, {tokens} tokens, from the engine to a reader on this machine"
    rate = Figure("sse_tokens_per_second", workload, "tok/s", "the engine's own loop")
    ours = statistics.median(through.timing.writing for through, _ in pairs)
    turns.note(rate, ours, statistics.median(raw.writing for _, raw in pairs), len(pairs), share)
    late = Figure("sse_overhead_p95", workload, "ms", "the target")
    late_ms = [value for through, _ in pairs for value in through.late_ms]
    turns.note(late, float(np.percentile(late_ms, 95)), OVERHEAD_TARGET, len(pairs), share)


@asynccontextmanager
async def _node(data: Path, model: Path) -> AsyncIterator[RunningNode]:
    node = RunningNode(data)
    node.add_model(model)
    await node.grant(node.account)
    command = (sys.executable, "-m", "tests.benchmarks.stamping_node", str(data))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        node.url = (await process.stdout.readline()).decode().strip()
        await node.until(node.is_healthy)
        yield node
    finally:
        process.terminate()
        await process.wait()
        await node.http.aclose()


async def _through(node: RunningNode, question: str, tokens: int) -> Through:
    began_ns = time.monotonic_ns()
    answer = await node.ask(question, sampling=Sampling(temperature=0.0, max_tokens=tokens, seed=1))
    return await asyncio.to_thread(_read, node, answer, began_ns)


def _read(node: RunningNode, answer: bytes, began_ns: int) -> Through:
    connection = HTTPConnection(urlsplit(node.url).netloc)
    connection.request("GET", f"/v1/answers/{answer.hex()}/events", headers=node.bearer)
    response = connection.getresponse()
    pieces_s: list[float] = []
    late_ms: list[float] = []
    data = bytearray()
    # Chunk by chunk, and a chunk is one event, but for a long one: parts of two are never read as one.
    while chunk := response.read1():
        now_ns = time.monotonic_ns()
        data += chunk
        if stamps := STAMP.findall(chunk):
            pieces_s.append((now_ns - began_ns) / 1e9)
            late_ms.append((now_ns - int(stamps[-1])) / 1e6)
    connection.close()
    ended = msgspec.json.decode(data[data.rindex(b"data: ") + 6 :], type=RunEvent)
    assert isinstance(ended, Ended)
    return Through(Timing(pieces_s, 0, ended.state.completion_tokens or 0), late_ms)
