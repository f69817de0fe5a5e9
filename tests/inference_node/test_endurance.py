"""Each real engine, and a node's runs, asked again and again: nothing grows. Eight chats go on past one that stands."""

from __future__ import annotations

import asyncio
import gc
import statistics
from contextlib import aclosing
from typing import TYPE_CHECKING

import psutil
import pytest

from inference_node.accelerator import accelerated
from inference_node.engines.child_engine import ChildEngine, TimeLimits
from inference_node.engines.engine import ChatMessage, EngineOptions, Finished, Piece, Prompt
from inference_node.loading.loader import LoadLimits
from inference_node.runs import runs
from inference_node.runs.run import Asked
from shared.values import Sampling
from tests.effort import SLOW
from tests.inference_node.running_node import new_id
from tests.inference_node.test_runs_machine import ACCOUNTS, ScriptedMachine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CHATS = 8
# Answers before the count begins, which fill every cache, and counted ones.
WARM, COUNTED = (400, 1000) if SLOW else (24, 40)


@pytest.fixture(params=["native", "llama_cpp"] if accelerated else ["llama_cpp"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[ChildEngine]:
    engine = ChildEngine(request.param)
    yield engine
    await engine.unload()


async def load(engine: ChildEngine, model: Path, slots: int) -> None:
    async for _ in engine.load(model, EngineOptions(context=256, slots=slots)):
        pass


def prompt(number: int, tokens: int) -> Prompt:
    question = [ChatMessage("user", f"What is special about {number}?")]
    return Prompt(question, Sampling(max_tokens=tokens, seed=number), owner=f"owner {number % 5}")


async def answered(engine: ChildEngine, asked: Prompt) -> int:
    """Return how many tokens came, once the answer has ended."""
    *_, last = [event async for event in engine.generate(asked)]
    assert isinstance(last, Finished)
    assert last.reason == "length"
    return last.completion_tokens


async def test_eight_chats_go_on_while_one_reader_stands_still(engine: ChildEngine, tiny_model: Path) -> None:
    await load(engine, tiny_model, CHATS)
    async with aclosing(engine.generate(prompt(0, 20))) as still:
        while not isinstance(await anext(still), Piece):
            pass
        counts = await asyncio.gather(*(answered(engine, prompt(n, 12)) for n in range(1, CHATS)))
        assert counts == [12] * (CHATS - 1)
        rest = [event async for event in still]
    assert isinstance(rest[-1], Finished)
    assert (rest[-1].reason, rest[-1].completion_tokens) == ("length", 20)


async def test_a_thousand_answers_leave_no_memory_behind(engine: ChildEngine, tiny_model: Path) -> None:
    # What is kept of prompts is soon full with so little room.
    await load(engine, tiny_model, 2)
    assert engine.process_id is not None
    process = psutil.Process(engine.process_id)

    async def answers(first: int, count: int) -> int:
        for number in range(first, first + count, 4):
            stopped = engine.generate(prompt(number, 200))
            stopped.stop()
            await asyncio.gather(*(answered(engine, prompt(n, 2)) for n in range(number, number + 3)), _end(stopped))
        return int(process.memory_info().rss)

    await answers(0, WARM)
    part = COUNTED // 10
    sizes = [await answers(WARM + part * n, part) for n in range(10)]
    # Bytes an answer, between the medians of both halves; a prompt's tokens alone would be 300.
    slope = (statistics.median(sizes[5:]) - statistics.median(sizes[:5])) / (COUNTED / 2)
    assert slope < (512 if SLOW else 65_536), sizes


async def _end(generation: object) -> None:
    async for _ in generation:  # type: ignore[attr-defined]
        pass


@pytest.mark.skipif(not SLOW, reason="takes a minute")
def test_a_thousand_runs_leave_no_memory_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "REPLAY_KEPT_S", 0)
    machine = ScriptedMachine()
    machine.script.held = False
    process = psutil.Process()

    async def answers(count: int) -> int:
        for n in range(count):
            account = ACCOUNTS[n % 2]
            asked = Asked(account, new_id(), new_id(), "AB"[n % 2], Sampling(), [ChatMessage("user", "Hello?")])
            await machine.runs.start(asked)
            run = machine.runs.find(account, asked.answer)
            assert run is not None
            assert [frame async for frame in run.replay.follow(0)]
            assert run.state == "done"
        machine.script.prompts.clear()
        gc.collect()
        return int(process.memory_info().rss)

    async def keep_few_pages() -> None:
        # SQLite fills its cache up to 2 MB before it gives pages back; that is no leak, and would look like one.
        async with machine.database.transaction() as connection:
            await connection.execute("PRAGMA cache_size = -200")

    machine.within(keep_few_pages())
    machine.within(answers(300))
    sizes = [machine.within(answers(100)) for _ in range(10)]
    machine.teardown()
    # Bytes an answer, between the medians of both halves. What is kept by mistake is more than its text.
    slope = (statistics.median(sizes[5:]) - statistics.median(sizes[:5])) / 500
    assert slope < 512, sizes


def test_silence_is_unhealthy_within_twenty_seconds() -> None:
    """What test_node_status shows in miniature, with the times that people get."""
    limits, times = LoadLimits(), TimeLimits()
    # A process that owes a pong is silent from the moment it was due.
    assert limits.suspect + times.ping_every + limits.look_every < 20
    # It is told before it is killed, and killed before people give up.
    assert limits.suspect < times.ping_silence < times.task_silence
