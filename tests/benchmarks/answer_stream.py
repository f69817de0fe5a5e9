"""Tokens per second through the node's event stream, against `xllamacpp` called in process: the same file, prompt
and threads, in turns, medians."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import xllamacpp  # type: ignore[import-untyped]

from inference_node.engines import llama_cpp
from inference_node.engines.engine import DEFAULT_OPTIONS, ChatMessage, Prompt
from inference_node.engines.llama_cpp_wire import request_for
from inference_node.gguf.header import read_header
from inference_node.gguf.vocabulary import Spelling
from inference_node.models.models import ModelStore
from shared.runs import Ended, Text
from shared.values import Sampling
from tests.benchmarks.records import Record, report
from tests.inference_node.running_node import RunningNode
from tests.model import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
TOKENS = 128
QUESTION = "Tell me a long story about a house with a stove."
SAMPLING = Sampling(temperature=0.0, max_tokens=TOKENS, seed=1)


class Timing(NamedTuple):
    """Seconds to the first text, and tokens a second from there to the end."""

    first_s: float
    rate: float


def main() -> None:
    """Measure, print and write the records."""
    asyncio.run(_measure())


async def _measure() -> None:
    model = await ModelStore(CACHE).ensure_default()
    with tempfile.TemporaryDirectory() as folder:
        node = RunningNode(Path(folder) / "data")
        node.add_model(model)
        await node.grant(node.account)
        await node.start()
        ask_in_process = await asyncio.to_thread(_in_process, str(model), folder)
        ours, peers = [], []
        for round_number in range(ROUNDS + 1):
            through_node = await _through_node(node)
            in_process = await asyncio.to_thread(ask_in_process)
            # The first round warms both up.
            if round_number:
                ours.append(through_node)
                peers.append(in_process)
        await node.stop()
    report("answer_stream", _records(ours, peers))


def _records(ours: list[Timing], peers: list[Timing]) -> list[Record]:
    peer = f"xllamacpp {version('xllamacpp')} in process"
    workload = f"SmolLM2-135M Q4_1, {llama_cpp.cores()} threads, {TOKENS} tokens"
    rates = [statistics.median(timing.rate for timing in timings) for timings in (ours, peers)]
    firsts = [1000 * statistics.median(timing.first_s for timing in timings) for timings in (ours, peers)]
    return [
        Record("answer_tokens_per_second", workload, rates[0], "tok/s", ROUNDS, peer, rates[1], rates[0] / rates[1]),
        Record("first_text", workload, firsts[0], "ms", ROUNDS, peer, firsts[1], firsts[0] / firsts[1]),
    ]


async def _through_node(node: RunningNode) -> Timing:
    started = time.perf_counter()
    answer = await node.ask(QUESTION, sampling=SAMPLING)
    times: list[float] = []
    completion_tokens = 0
    async with aclosing(node.watch(answer)) as events:
        async for event in events:
            if isinstance(event.event, Text):
                times.append(time.perf_counter())
            elif isinstance(event.event, Ended):
                completion_tokens = event.event.state.completion_tokens or 0
    return Timing(times[0] - started, (completion_tokens - 1) / (times[-1] - times[0]))


def _in_process(model: str, folder: str) -> Callable[[], Timing]:
    """Load the model here, with the node's own parameters, and return what asks it once."""
    plan = llama_cpp.plan_for(read_header(Path(model)), DEFAULT_OPTIONS)
    server = xllamacpp.Server(llama_cpp.parameters_for(model, f"{folder}/peer.sock", plan, DEFAULT_OPTIONS))
    request = msgspec.json.encode(request_for(Prompt([ChatMessage("user", QUESTION)], SAMPLING), Spelling([])))

    def ask() -> Timing:
        times: list[float] = []

        def on_chunk(data: bytes) -> bool:
            if b'"delta":{"content"' in data:
                times.append(time.perf_counter())
            return False

        started = time.perf_counter()
        server.handle_chat_completions(request, on_chunk)
        return Timing(times[0] - started, (len(times) - 1) / (times[-1] - times[0]))

    return ask
