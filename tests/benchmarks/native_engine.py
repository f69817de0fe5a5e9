"""accel's engine through its Python door: reading, writing, several chats, next turns and guessing ahead.

The peer, or our own engine without what is measured, takes turns with it in the same run: the same file, prompt and
threads; medians.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import xllamacpp  # type: ignore[import-untyped]

from inference_node import llama_cpp
from inference_node.accelerator import accel
from inference_node.engine import EngineOptions
from inference_node.models import ModelStore
from tests.benchmarks.records import Record, report
from tests.model import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
TOKENS = 128
SLOTS = 8
CONTEXT = 4096
SENTENCE = "The house at the end of the lane has eleven rooms, a red door and a stove that is never cold. "
STORY = "Tell me a long story about a house with a stove."
COPY = "Repeat the following text word for word, and nothing else:\n\n"


class Timing(NamedTuple):
    """Seconds to the first text and to the end, and tokens of prompt and answer."""

    first_s: float
    end_s: float
    prompt_tokens: int
    tokens: int

    @property
    def writing(self) -> float:
        """Tokens a second after the first."""
        return (self.tokens - 1) / (self.end_s - self.first_s)

    @property
    def reading(self) -> float:
        """Tokens of the prompt a second, up to the first of the answer."""
        return self.prompt_tokens / self.first_s


def main() -> None:
    """Measure, print and write the records."""
    if accel is None:
        print("native_engine: accel is not built here, nothing to measure")  # noqa: T201
    else:
        asyncio.run(_measure())


async def _measure() -> None:
    model = str(await ModelStore(CACHE).ensure_default())
    options = {"context": CONTEXT, "slots": SLOTS, "cache_bytes": 2_000_000_000}
    engine = accel.Engine(model, msgspec.json.encode(options), None)
    ask = _Native(engine)
    peer = _LlamaCpp(model)
    name = f"xllamacpp {version('xllamacpp')}"
    with_threads = f"SmolLM2-135M Q4_1, {llama_cpp.cores()} threads"
    records = [
        _record(
            "decode",
            f"{with_threads}, {TOKENS} tokens",
            name,
            "tok/s",
            *_in_turns(lambda: ask(_chat(STORY), TOKENS).writing, lambda: peer(_chat(STORY), TOKENS).writing),
        ),
        _record(
            "prefill",
            f"{with_threads}, 512 tokens",
            name,
            "tok/s",
            *_in_turns(lambda: ask(_text(512), 1).reading, lambda: peer(_text(512), 1).reading),
        ),
        *(
            _record(
                f"decode_{count}_chats",
                f"{with_threads}, {TOKENS} tokens each, total",
                "our 1 chat",
                "tok/s",
                *_in_turns(partial(ask.together, count), lambda: ask.together(1)),
            )
            for count in (2, 4, 8)
        ),
        _record(
            "next_turn_first_token",
            f"{with_threads}, 2k context",
            "without reuse",
            "ms",
            *_in_turns(lambda: _next_turn(ask, "home"), lambda: _next_turn(ask, "")),
        ),
        _record(
            "decode_copying",
            f"{with_threads}, prompt lookup",
            "without",
            "tok/s",
            *_in_turns(
                lambda: ask(_chat(COPY + SENTENCE * 6) | {"speculate": True}, 120).writing,
                lambda: ask(_chat(COPY + SENTENCE * 6), 120).writing,
            ),
        ),
        _record(
            "decode_free_text",
            f"{with_threads}, prompt lookup",
            "without",
            "tok/s",
            *_in_turns(
                lambda: ask(_chat(STORY) | {"speculate": True}, 2 * TOKENS).writing,
                lambda: ask(_chat(STORY), 2 * TOKENS).writing,
            ),
        ),
    ]
    engine.close()
    report("native_engine", records)


def _in_turns(ours: Callable[[], float], peers: Callable[[], float]) -> tuple[list[float], list[float]]:
    figures: tuple[list[float], list[float]] = ([], [])
    for round_number in range(ROUNDS + 1):
        pair = ours(), peers()
        # The first round warms both up.
        if round_number:
            figures[0].append(pair[0])
            figures[1].append(pair[1])
    return figures


def _record(name: str, workload: str, peer: str, unit: str, ours: list[float], peers: list[float]) -> Record:
    value, peer_value = statistics.median(ours), statistics.median(peers)
    full_name = name if unit == "ms" else f"{name}_tokens_per_second"
    return Record(full_name, workload, value, unit, ROUNDS, peer, peer_value, value / peer_value)


def _chat(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _text(tokens: int) -> dict[str, Any]:
    # One token a word.
    return {"text": " house" * tokens}


def _next_turn(ask: _Native, owner: str) -> float:
    """Return the milliseconds to the first token of a second turn, after a first one that fills 2k of the context."""
    turns = [{"role": "user", "content": f"{time.monotonic_ns()} {SENTENCE * 85} Describe the house."}]
    first = ask({"messages": turns, "owner": owner}, 16)
    turns += [{"role": "assistant", "content": ask.said}, {"role": "user", "content": "And its door?"}]
    second = ask({"messages": turns, "owner": owner}, 1)
    assert second.prompt_tokens > first.prompt_tokens > 1800
    return 1000 * second.first_s


class _Native:
    """Ours."""

    def __init__(self, engine: accel.Engine) -> None:
        self._engine = engine
        self.said = ""

    def __call__(self, request: dict[str, Any], tokens: int) -> Timing:
        sampling = {"temperature": 0.0, "max_tokens": tokens}
        begin = time.perf_counter()
        generation = self._engine.start(msgspec.json.encode({"speculate": False, "sampling": sampling} | request))
        first_s, said = 0.0, ""
        while (data := generation.next(60.0)) != b"[]":
            for event in msgspec.json.decode(data or b"[]"):
                now_s = time.perf_counter() - begin
                if event["type"] == "piece":
                    first_s = first_s or now_s
                    said += event["text"]
                elif event["type"] == "finished":
                    last = event
        self.said = said
        return Timing(first_s or now_s, now_s, last["prompt_tokens"], last["completion_tokens"])

    def together(self, count: int) -> float:
        """Return the tokens a second of so many chats together."""
        begin = time.perf_counter()
        with ThreadPoolExecutor(count) as threads:
            asked = threads.map(lambda n: self(_chat(f"{STORY} It has {n + 3} rooms."), TOKENS), range(count))
            return sum(timing.tokens for timing in asked) / (time.perf_counter() - begin)


class _LlamaCpp:
    """The peer."""

    def __init__(self, model: str) -> None:
        options = EngineOptions(context=CONTEXT, slots=1)
        plan = llama_cpp.plan_for(llama_cpp.header_of(Path(model)), options)
        with tempfile.TemporaryDirectory() as folder:
            self._server = xllamacpp.Server(llama_cpp.parameters_for(model, f"{folder}/engine.sock", plan, options))

    def __call__(self, request: dict[str, Any], tokens: int) -> Timing:
        asked = {"temperature": 0.0, "max_tokens": tokens, "stream": True, "cache_prompt": False}
        asked |= {"stream_options": {"include_usage": True}} | request
        handle = self._server.handle_chat_completions
        if "text" in request:
            asked["prompt"] = asked.pop("text")
            handle = self._server.handle_completions
        times: list[float] = []
        usage: dict[str, int] = {}
        begin = time.perf_counter()

        def on_chunk(data: bytes) -> bool:
            chunk = msgspec.json.decode(data)
            if any(choice.get("text") or choice.get("delta", {}).get("content") for choice in chunk["choices"]):
                times.append(time.perf_counter() - begin)
            usage.update(chunk.get("usage") or {})
            return False

        handle(msgspec.json.encode(asked), on_chunk)
        return Timing(times[0], times[-1], usage["prompt_tokens"], usage["completion_tokens"])


if __name__ == "__main__":
    main()
