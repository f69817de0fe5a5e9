"""The engine process: it has no network, ends with its node, and may die without taking the node along."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

import psutil
import pytest

from inference_node.child_engine import ChildEngine, TimeLimits
from inference_node.engine import ChatMessage, EngineOptions, Piece, Prompt
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


def test_it_ends_when_its_input_does(default_test_model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "inference_node.engine_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # In the middle of loading, even.
    process.stdin.write(pack(1, Load("llama_cpp", str(default_test_model))))
    process.stdin.close()
    assert process.wait(WITHIN_S) == 0
    process.stdout.close()
