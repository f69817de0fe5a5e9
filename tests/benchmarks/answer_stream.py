"""What an answer costs on its way: tokens a second at an SSE client on localhost, against the engine's raw loop.

Ours is the whole way: engine process, pipe, run, replay buffer, uvicorn, SSE, client. The peer is `xllamacpp` in this
process: once with the node's own settings, which leaves the way alone to differ, and once with the wheel's defaults.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import xllamacpp  # type: ignore[import-untyped]

from inference_node.child_engine import CONTEXT_TOKENS, ChildEngine
from inference_node.engine import Prompt
from inference_node.llama_cpp import PROMPT_CACHE_MIB, LlamaCpp
from inference_node.models import ModelStore
from shared.runs import Ended, Text
from shared.values import Sampling
from shared.wire import PathMessage
from tests.benchmarks.records import Record, report
from tests.inference_node.running_node import running_node
from tests.model import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
TOKENS = 128
PATH = [PathMessage("user", "Tell me a very long story about a house spirit, with many chapters and much detail.")]
SAMPLING = Sampling(temperature=0.8, seed=7, max_tokens=TOKENS)
WORKLOAD = f"SmolLM2-135M Q4_1, {TOKENS} tokens, interleaved"

# Of one round: tokens a second after the first, and milliseconds to the first.
Round = tuple[float, float]


def main() -> None:
    """Measure and print."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    model = asyncio.run(ModelStore(FOLDER).ensure_default(lambda _done, _total: None)).path.absolute()
    ours, same, default = asyncio.run(_measure(model))
    peer = f"xllamacpp {version('xllamacpp')} in process"
    report(
        "answer_stream",
        [
            _record("answer_stream_tokens_per_second", "tok/s", 0, ours, (f"{peer}, same settings", same)),
            _record("answer_stream_tokens_per_second", "tok/s", 0, ours, (f"{peer}, its defaults", default)),
            _record("answer_stream_first_token", "ms", 1, ours, (f"{peer}, same settings", same)),
        ],
    )


def _record(name: str, unit: str, figure: int, ours: list[Round], peer: tuple[str, list[Round]]) -> Record:
    value = statistics.median(one[figure] for one in ours)
    peer_value = statistics.median(one[figure] for one in peer[1])
    return Record(name, WORKLOAD, value, unit, ROUNDS, peer[0], peer_value, value / peer_value)


async def _measure(model: Path) -> tuple[list[Round], list[Round], list[Round]]:
    same_engine = LlamaCpp(str(model), CONTEXT_TOKENS)
    default_engine = _default_server(model)
    ours: list[Round] = []
    same: list[Round] = []
    default: list[Round] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "models").mkdir()
        (data / "models" / model.name).symlink_to(model)
        async with running_node(data, ChildEngine()) as node:
            await node.until_healthy()
            for number in range(ROUNDS + 1):
                rounds = (
                    await _streamed(node),
                    await asyncio.to_thread(_raw, same_engine),
                    await asyncio.to_thread(_default, default_engine),
                )
                # The first round fills caches.
                if number:
                    for measured, one in zip((ours, same, default), rounds, strict=True):
                        measured.append(one)
    return ours, same, default


async def _streamed(node: Any) -> Round:
    wanted = node.wanted(path=PATH, sampling=SAMPLING)
    started = time.perf_counter()
    await node.start(wanted)
    first = 0.0
    tokens = 0
    async for event in node.watch(wanted.answer):
        if isinstance(event.body, Text) and not first:
            first = time.perf_counter()
        if isinstance(event.body, Ended):
            tokens = event.body.state.completion_tokens or 0
    return _round(started, first, tokens)


def _raw(engine: LlamaCpp) -> Round:
    pieces: list[float] = []
    started = time.perf_counter()
    engine.generate(Prompt(PATH, SAMPLING), lambda _: pieces.append(time.perf_counter()), lambda: False)
    # Begun and one sign of life come before the first token, Finished after the last.
    texts = pieces[2:-1]
    return _round(started, texts[0], len(texts))


def _default(server: Any) -> Round:
    pieces: list[float] = []
    started = time.perf_counter()
    _ask(server, lambda: pieces.append(time.perf_counter()))
    return _round(started, pieces[0], len(pieces))


def _ask(server: Any, on_token: Callable[[], None]) -> None:
    def on_chunk(data: bytes) -> bool:
        choices = msgspec.json.decode(data).get("choices") or [{}]
        if choices[0].get("delta", {}).get("content"):
            on_token()
        return False

    body = {
        "messages": [{"role": message.role, "content": message.text} for message in PATH],
        "stream": True,
        "max_tokens": TOKENS,
        "seed": SAMPLING.seed,
        "temperature": SAMPLING.temperature,
    }
    server.handle_chat_completions(msgspec.json.encode(body), on_chunk)


def _round(started: float, first: float, tokens: int) -> Round:
    return (tokens - 1) / (time.perf_counter() - first), (first - started) * 1000


def _default_server(model: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(model)
        parameters.n_ctx = CONTEXT_TOKENS
        parameters.cache_ram_mib = PROMPT_CACHE_MIB
        parameters.verbosity = 1
        parameters.hostnames = [f"{folder}/none.sock"]
        return xllamacpp.Server(parameters)


if __name__ == "__main__":
    main()
