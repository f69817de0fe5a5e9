"""What the node adds to the engine's own time: a child process, a run with its replay buffer, server-sent events."""

from __future__ import annotations

import tempfile
import time
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inference_node.loading.quiet import others_share
from shared.runs import Ended, Text
from shared.values import Sampling
from tests.benchmarks.contestants import Timing
from tests.benchmarks.turns import ROUNDS, Figure, Turns
from tests.inference_node.running_node import RunningNode

if TYPE_CHECKING:
    from collections.abc import Callable


async def measure(turns: Turns, ask_engine: Callable[[], Timing], model: Path, question: str, tokens: int) -> None:
    """Let a node answer the same, in turns with the engine, and compare the gaps between pieces of text."""
    if not turns.has_time("sse_tokens_per_second"):
        return
    through: list[Timing] = []
    raw: list[Timing] = []
    share = others_share()
    with tempfile.TemporaryDirectory() as folder:
        node = RunningNode(Path(folder) / "data", engine="native")
        node.add_model(model)
        await node.grant(node.account)
        await node.start()
        for number in range(ROUNDS + 1):
            pair = await _through(node, question, tokens), ask_engine()
            # The first round warms both up.
            if number:
                through.append(pair[0])
                raw.append(pair[1])
        await node.stop()
    share = max(share, others_share())
    workload = f"SmolLM2-135M Q4_1, {tokens} tokens, from the engine to a reader on this machine"
    peer = "the engine's own loop"
    rate = Figure("sse_tokens_per_second", workload, "tok/s", peer)
    gap = Figure("sse_gap_between_tokens_p95", workload, "ms", peer)
    turns.note(rate, _rate(through), _rate(raw), ROUNDS, share)
    turns.note(gap, _gap_ms(through), _gap_ms(raw), ROUNDS, share)


def _rate(timings: list[Timing]) -> float:
    return float(np.median([timing.writing for timing in timings]))


def _gap_ms(timings: list[Timing]) -> float:
    gaps = [after - before for timing in timings for before, after in pairwise(timing.pieces_s)]
    return 1000 * float(np.percentile(gaps, 95))


async def _through(node: RunningNode, question: str, tokens: int) -> Timing:
    pieces_s: list[float] = []
    prompt_tokens = completion_tokens = 0
    began = time.perf_counter()
    answer = await node.ask(question, sampling=Sampling(temperature=0.0, max_tokens=tokens, seed=1))
    async with aclosing(node.watch(answer)) as events:
        async for event in events:
            if isinstance(event.event, Text):
                pieces_s.append(time.perf_counter() - began)
            elif isinstance(event.event, Ended):
                completion_tokens = event.event.state.completion_tokens or 0
    return Timing(pieces_s, prompt_tokens, completion_tokens)
