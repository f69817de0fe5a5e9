"""The engine process: it has no network, ends with its node, and may die without taking the node along."""

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

from inference_node.child_engine import ChildEngine, TimeLimits
from inference_node.engine import ChatMessage, EngineOptions, Finished, Piece, Prompt
from inference_node.engine_messages import Load, pack
from shared.errors import Code, DomovoiError
from shared.values import Sampling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

STORY = Prompt([ChatMessage("user", "Tell me a very long story.")], Sampling(seed=1))
WITHIN_S = 30.0


async def load(engine: ChildEngine, model: Path) -> None:
    async for _ in engine.load(model, EngineOptions(context=1024, slots=2)):
        pass


@pytest.fixture
async def engine(default_test_model: Path) -> AsyncIterator[ChildEngine]:
    engine = ChildEngine()
    await load(engine, default_test_model)
    yield engine
    await engine.unload()


def process_of(engine: ChildEngine) -> psutil.Process:
    assert engine.process_id is not None
    return psutil.Process(engine.process_id)


async def at_first_piece(engine: ChildEngine, do: Callable[[], object]) -> None:
    """Begin an answer, do something when it comes, and read on."""
    is_first = True
    async with asyncio.timeout(WITHIN_S), aclosing(engine.generate(STORY)) as events:
        async for event in events:
            if isinstance(event, Piece) and is_first:
                is_first = False
                do()


async def test_it_listens_on_no_network(engine: ChildEngine) -> None:
    assert process_of(engine).net_connections("inet") == []


async def test_killed_in_mid_answer_it_fails_by_name(engine: ChildEngine) -> None:
    process = process_of(engine)
    with pytest.raises(DomovoiError) as failed:
        await at_first_piece(engine, process.kill)
    assert failed.value.code == Code.ENGINE_FAILED
    assert not process.is_running()


async def test_suspended_it_counts_as_hung_and_is_killed(default_test_model: Path) -> None:
    engine = ChildEngine(limits=TimeLimits(task_silence=5.0, look_every=0.1))
    await load(engine, default_test_model)
    process = process_of(engine)
    with pytest.raises(DomovoiError) as failed:
        await at_first_piece(engine, process.suspend)
    assert failed.value.code == Code.ENGINE_FAILED
    assert not process.is_running()


async def test_unloaded_its_process_is_gone(engine: ChildEngine) -> None:
    process = process_of(engine)
    await engine.unload()
    assert not process.is_running()
    assert engine.process_id is None


async def test_a_model_cut_short_is_damaged(default_test_model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    with default_test_model.open("rb") as whole:
        cut.write_bytes(whole.read(5_000_000))
    engine = ChildEngine()
    with pytest.raises(DomovoiError) as refused:
        await load(engine, cut)
    assert refused.value.code == Code.MODEL_DAMAGED
    await engine.unload()


async def test_more_than_the_memory_it_may_have_is_refused_by_name(default_test_model: Path) -> None:
    engine = ChildEngine()
    with pytest.raises(DomovoiError) as refused:
        async for _ in engine.load(default_test_model, EngineOptions(context=8192, slots=4, memory=300 * 1024**2)):
            pass
    assert refused.value.code == Code.OUT_OF_MEMORY
    await engine.unload()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_poisoned_file_answers_or_fails_and_never_hangs(
    default_test_model: Path, tmp_path: Path, seed: int
) -> None:
    poisoned = tmp_path / "poisoned.gguf"
    content = bytearray(default_test_model.read_bytes())  # noqa: ASYNC240
    random = Random(seed)
    # The weights alone: a damaged header is refused before.
    for position in range(len(content) // 20, len(content), 4096):
        content[position : position + 64] = random.randbytes(64)
    poisoned.write_bytes(content)
    engine = ChildEngine()
    async with asyncio.timeout(WITHIN_S):
        await load(engine, poisoned)
        try:
            *_, last = [event async for event in engine.generate(Prompt(STORY.messages, Sampling(max_tokens=4)))]
            assert isinstance(last, Finished)
        except DomovoiError as error:
            assert error.code == Code.ENGINE_FAILED  # noqa: PT017  # either may come
        await engine.unload()


def test_it_ends_when_its_input_does(default_test_model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "inference_node.engine_process", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # In the middle of loading, even.
    process.stdin.write(pack(1, Load("llama_cpp", str(default_test_model))))
    process.stdin.close()
    assert process.wait(WITHIN_S) == 0
    process.stdout.close()
