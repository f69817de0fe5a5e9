"""accel's engine beside its peers (`make bench-engine`): reading, writing, several chats, next turns, guessing ahead, a
busy core, a larger model, and what the node adds on the way to a browser.

Each figure is measured in turns with its peer, in a time set beforehand: all of it takes some four minutes.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from inference_node.accelerator import accel
from inference_node.loading.quiet import others_share, wait_until_quiet
from inference_node.models.models import ModelStore
from tests.benchmarks import large_model, llama_bench, through_node
from tests.benchmarks.contestants import LlamaCpp, Native, Timing
from tests.benchmarks.records import report
from tests.benchmarks.turns import Figure, Turns
from tests.model import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 20.0
# Each figure has some seconds; on a quiet machine all of them take less.
ALL_S = 200.0
TOKENS = 128
SLOTS = 8
SENTENCE = "The house at the end of the lane has eleven rooms, a red door and a stove that is never cold. "
STORY = "Tell me a long story about a house with a stove."
COPY = "Repeat the following text word for word, and nothing else:\n\n"
PEER = f"xllamacpp {version('xllamacpp')}"


def main() -> None:
    """Measure, print and write the records."""
    if accel is None:
        print("native_engine: accel is not built here, nothing to measure")  # noqa: T201
        return
    asyncio.run(_measure())


async def _measure() -> None:
    turns = Turns(ALL_S)
    share = await wait_until_quiet(WAIT_S)
    sys.stderr.write(f"Other programs take {share:.2f} cores.\n")
    model = str(await ModelStore(CACHE).ensure_default())
    engine = Native(model, slots=SLOTS, cache_bytes=2_000_000_000)
    peer = LlamaCpp(model)
    where = f"SmolLM2-135M Q4_1, {engine.threads} threads"
    with tempfile.TemporaryDirectory() as folder:
        _large(turns, str(large_model.write(Path(folder) / "large.gguf")))
    _reading_and_writing(turns, _with_other_instructions(engine, model), peer, where)
    _bandwidth(turns, engine, model, where)
    _chats(turns, engine, where)
    _next_turn(turns, engine, where)
    _guessing(turns, engine, where)
    _busy_core(turns, model, engine, peer)
    if shutil.which(llama_bench.PROGRAM):
        llama_bench.measure(turns, engine, model, where)
    # Last: it needs the most that could be missing.
    await through_node.measure(turns, lambda: engine(_chat(STORY), TOKENS), Path(model), STORY, TOKENS)
    engine.close()
    report("native_engine", turns.records)


def _with_other_instructions(engine: Native, model: str) -> list[Native]:
    """AVX2 beside the fastest instructions of this processor: most that families have know no more."""
    try:
        other = Native(model, instructions="avx2")
    except accel.Unsupported:
        return [engine]
    return [engine] if other.instructions == engine.instructions else [engine, other]


def _reading_and_writing(turns: Turns, engines: list[Native], peer: LlamaCpp, where: str) -> None:
    kinds = [f"{where}, {engine.instructions}" for engine in engines]

    def ask(request: dict[str, Any], tokens: int) -> list[Timing]:
        return [engine(request, tokens) for engine in engines]

    def ask_peer(request: dict[str, Any], tokens: int) -> list[Timing]:
        return [peer(request, tokens)] * len(engines)

    writing = [Figure("decode_tokens_per_second", f"{kind}, {TOKENS} tokens", "tok/s", PEER) for kind in kinds]
    turns.measure(
        partial(ask, _chat(STORY), TOKENS),
        partial(ask_peer, _chat(STORY), TOKENS),
        [(figure, partial(_writing, index)) for index, figure in enumerate(writing)],
        15.0,
    )
    reading = [Figure("prefill_tokens_per_second", f"{kind}, 512 tokens", "tok/s", PEER) for kind in kinds]
    first = [Figure("first_token_cold", f"{kind}, 512 tokens", "ms", PEER) for kind in kinds]
    turns.measure(
        partial(ask, _text(512), 1),
        partial(ask_peer, _text(512), 1),
        [
            *((figure, partial(_reading, index)) for index, figure in enumerate(reading)),
            *((figure, partial(_first_ms, index)) for index, figure in enumerate(first)),
        ],
        15.0,
    )


def _writing(index: int, timings: list[Timing]) -> float:
    return timings[index].writing


def _reading(index: int, timings: list[Timing]) -> float:
    return timings[index].reading


def _first_ms(index: int, timings: list[Timing]) -> float:
    return timings[index].first_ms


def _bandwidth(turns: Turns, engine: Native, model: str, where: str) -> None:
    """Every weight is read once for a token: how much of what memory can do is that?"""
    tensors = gguf.GGUFReader(model).tensors
    read = sum(int(tensor.n_bytes) for tensor in tensors if len(tensor.shape) == 2)
    numbers = np.ones(32 << 20, np.int64)
    parts = np.split(numbers, engine.threads)

    def all_read() -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(engine.threads) as threads:
            list(threads.map(np.max, parts))
        return numbers.nbytes / (time.perf_counter() - began) / 1e9

    figure = Figure("decode_memory_bandwidth", where, "GB/s", f"numpy.max over 256 MB, {engine.threads} threads")
    turns.measure(
        lambda: engine(_chat(STORY), TOKENS).writing * read / 1e9,
        lambda: max(all_read() for _ in range(3)),
        [(figure, float)],
        10.0,
    )


def _chats(turns: Turns, engine: Native, where: str) -> None:
    for count in (2, 4, 8):
        requests = [_chat(f"{STORY} It has {number + 3} rooms.") for number in range(count)]
        figure = Figure(f"{count}_chats_tokens_per_second", f"{where}, {TOKENS} tokens each", "tok/s", "our 1 chat")
        turns.measure(
            partial(engine.together, requests, TOKENS),
            partial(engine.together, requests[:1], TOKENS),
            [(figure, float)],
            10.0,
        )


def _next_turn(turns: Turns, engine: Native, where: str) -> None:
    """The first text of a second turn, after a first one that fills 2k of the context."""

    def second_turn(owner: str) -> float:
        said = [{"role": "user", "content": f"{time.monotonic_ns()} {SENTENCE * 85} Describe the house."}]
        first = engine({"messages": said, "owner": owner}, 16)
        said += [{"role": "assistant", "content": engine.said}, {"role": "user", "content": "And its door?"}]
        second = engine({"messages": said, "owner": owner}, 1)
        assert second.prompt_tokens > first.prompt_tokens > 1800
        return second.first_ms

    figure = Figure("first_token_follow_up", f"{where}, 2k context", "ms", "without prefix reuse")
    turns.measure(lambda: second_turn("home"), lambda: second_turn(""), [(figure, float)], 15.0)


def _guessing(turns: Turns, engine: Native, where: str) -> None:
    def rate(text: str, *, speculate: bool) -> float:
        return engine(_chat(text), TOKENS, speculate=speculate).writing

    for kind, text in (("copying", COPY + SENTENCE * 6), ("free_text", STORY)):
        figure = Figure(f"decode_{kind}_with_prompt_lookup", f"{where}, {TOKENS} tokens", "tok/s", "without")
        turns.measure(
            partial(rate, text, speculate=True), partial(rate, text, speculate=False), [(figure, float)], 10.0
        )


def _busy_core(turns: Turns, model: str, engine: Native, peer: LlamaCpp) -> None:
    """One other program that never rests: against llama.cpp's better number of threads, and our one thread alone."""
    name, where = "decode_beside_a_busy_core", f"SmolLM2-135M Q4_1, {TOKENS} tokens, one other core busy"
    if not turns.has_time(name):
        return
    single, single_peer = Native(model, threads=1), LlamaCpp(model, threads=1)
    share = others_share()
    rates: dict[str, list[float]] = {"quiet": [], "ours": [], "peer": [], "single peer": []}
    for number in range(4):
        rates["quiet"].append(single(_chat(STORY), TOKENS).writing)
        with _another_program():
            # Long enough for the load to be seen, as it is by an engine that has been there for a while.
            time.sleep(0.5)
            for who, ask in (("ours", engine), ("single peer", single_peer), ("peer", peer)):
                # llama.cpp with all threads may take ten times as long as alone.
                tokens = TOKENS if who != "peer" else TOKENS // 4
                rates[who].append(ask(_chat(STORY), tokens).writing)
        if not number:
            rates = {who: [] for who in rates}
    share = max(share, others_share())
    single.close()
    median = {who: statistics.median(values) for who, values in rates.items()}
    best = max(("single peer", "peer"), key=lambda who: median[who])
    threads = 1 if best == "single peer" else peer.threads
    turns.note(Figure(name, where, "tok/s", f"{PEER}, {threads} threads"), median["ours"], median[best], 3, share)
    turns.note(Figure(name, where, "tok/s", "our 1 thread, quiet"), median["ours"], median["quiet"], 3, share)


@contextmanager
def _another_program() -> Iterator[None]:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def _large(turns: Turns, model: str) -> None:
    engines: list[Native] = []

    def load() -> float:
        while engines:
            engines.pop().close()
        engines.append(Native(model))
        return engines[0].load_s

    def read() -> float:
        began = time.perf_counter()
        with open(model, "rb", buffering=0) as file:
            while file.read(1 << 22):
                pass
        return time.perf_counter() - began

    figure = Figure("load", large_model.NAME, "s", "reading the file from the page cache")
    turns.measure(load, read, [(figure, float)], 5.0)
    [engine] = engines
    peer = LlamaCpp(model)
    where = f"{large_model.NAME}, {engine.threads} threads"
    reading = Figure("prefill_tokens_per_second", f"{where}, 128 tokens", "tok/s", PEER)
    writing = Figure("decode_tokens_per_second", f"{where}, 48 tokens", "tok/s", PEER)

    def answer(of: Native | LlamaCpp) -> Timing:
        # Letters are tokens of this model; without a template there are no messages.
        return of({"text": "house" * 25 + "and"}, 48)

    turns.measure(
        lambda: answer(engine),
        lambda: answer(peer),
        [(reading, lambda timing: timing.reading), (writing, lambda timing: timing.writing)],
        25.0,
    )
    engine.close()


def _chat(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _text(tokens: int) -> dict[str, Any]:
    # One token a word.
    return {"text": " house" * tokens}


if __name__ == "__main__":
    main()
