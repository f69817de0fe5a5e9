"""Each real engine's process: it has no network, ends with its node, and may die without taking the node along."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import aclosing
from random import Random
from typing import TYPE_CHECKING

import psutil
import pytest

from inference_node.accelerator import accelerated
from inference_node.engines.child_engine import ChildEngine, TimeLimits
from inference_node.engines.engine import ChatMessage, EngineOptions, Finished, Piece, Prompt
from inference_node.engines.messages import Load, pack
from shared.errors import Code, DomovoiError
from shared.values import Sampling
from tests.effort import SLOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

OPTIONS = EngineOptions(context=2048, slots=2)
LIMITS = TimeLimits(task_silence=2.0, look_every=0.05)
STORY = Prompt([ChatMessage("user", "Tell me a very long story.")], Sampling(temperature=0.0))
WITHIN_S = 30.0
ENGINES = ["native", "llama_cpp"] if accelerated else ["llama_cpp"]
# What a Python process has before it loads anything is more than this.
TOO_LITTLE = EngineOptions(context=8192, slots=64, memory=1024**2)


async def load(engine: ChildEngine, model: Path, options: EngineOptions = OPTIONS) -> None:
    async for _ in engine.load(model, options):
        pass


@pytest.fixture(params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    given: str = request.param
    return given


@pytest.fixture
async def engine(name: str, tiny_model: Path) -> AsyncIterator[ChildEngine]:
    engine = ChildEngine(name, LIMITS)
    await load(engine, tiny_model)
    async with asyncio.timeout(WITHIN_S):
        yield engine
    await engine.unload()


def process_of(engine: ChildEngine) -> psutil.Process:
    assert engine.process_id is not None
    return psutil.Process(engine.process_id)


async def at_first_piece(engine: ChildEngine, do: Callable[[], object]) -> DomovoiError:
    """Begin an answer, do something when it comes, and return what the answer fails with."""
    async with aclosing(engine.generate(STORY)) as events:
        while not isinstance(await anext(events), Piece):
            pass
        do()
        with pytest.raises(DomovoiError) as failed:
            _ = [event async for event in events]
    return failed.value


async def test_killed_in_mid_answer_it_fails_by_name_and_had_no_network(engine: ChildEngine) -> None:
    process = process_of(engine)
    assert process.net_connections("inet") == []
    assert (await at_first_piece(engine, process.kill)).code == Code.ENGINE_FAILED
    assert not process.is_running()


async def test_suspended_it_counts_as_hung_and_is_killed(engine: ChildEngine) -> None:
    process = process_of(engine)
    assert (await at_first_piece(engine, process.suspend)).code == Code.ENGINE_FAILED
    assert not process.is_running()


async def test_unloaded_its_process_is_gone(engine: ChildEngine) -> None:
    process = process_of(engine)
    await engine.unload()
    assert not process.is_running()
    assert engine.process_id is None


async def test_what_is_no_model_to_it_is_refused_and_the_next_one_loads(
    name: str, tiny_model: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.gguf"
    content = tiny_model.read_bytes()  # noqa: ASYNC240
    cut.write_bytes(content[: len(content) // 2])
    for path, options, code in (
        (cut, OPTIONS, Code.MODEL_DAMAGED),
        (tiny_model, TOO_LITTLE, Code.OUT_OF_MEMORY),
    ):
        engine = ChildEngine(name, LIMITS)
        with pytest.raises(DomovoiError) as refused:
            await load(engine, path, options)
        assert refused.value.code == code
        await engine.unload()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such limit")
async def test_too_little_memory_is_no_damaged_file(name: str, default_test_model: Path) -> None:
    """A process that may have little memory, as in a container: the same file loads where there is room."""
    starved = ChildEngine(name, LIMITS, "tests.inference_node.starved_engine")
    with pytest.raises(DomovoiError) as failed:
        await load(starved, default_test_model)
    await starved.unload()
    # llama.cpp may end its process without a word where an allocation fails deep within it.
    assert failed.value.code in {Code.OUT_OF_MEMORY, Code.ENGINE_FAILED if name == "llama_cpp" else Code.OUT_OF_MEMORY}
    engine = ChildEngine(name, LIMITS)
    await load(engine, default_test_model)
    await engine.unload()


@pytest.mark.parametrize("seed", range(1, 41) if SLOW else [1])
async def test_a_poisoned_file_answers_or_fails_and_never_hangs(
    name: str, tiny_model: Path, tmp_path: Path, seed: int
) -> None:
    poisoned = tmp_path / "poisoned.gguf"
    content = bytearray(tiny_model.read_bytes())  # noqa: ASYNC240
    random = Random(seed)
    # The weights alone: a damaged header is refused before.
    for position in range(len(content) // 20, len(content), 4096):
        content[position : position + 64] = random.randbytes(64)
    poisoned.write_bytes(content)
    engine = ChildEngine(name, LIMITS)
    async with asyncio.timeout(WITHIN_S):
        await load(engine, poisoned)
        try:
            *_, last = [event async for event in engine.generate(Prompt(STORY.messages, Sampling(max_tokens=4)))]
            assert isinstance(last, Finished)
        except DomovoiError as error:
            assert error.code == Code.ENGINE_FAILED  # noqa: PT017  # either may come
        await engine.unload()


def test_it_ends_when_its_input_does(name: str, tiny_model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "inference_node.engines.process", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # In the middle of loading, even.
    process.stdin.write(pack(1, Load(name, str(tiny_model))))
    process.stdin.close()
    assert process.wait(WITHIN_S) == 0
    process.stdout.close()
