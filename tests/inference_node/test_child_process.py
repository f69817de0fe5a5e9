"""What may happen to an engine process, tried on one that needs no model and so starts at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from inference_node.engines.child_engine import ChildEngine, TimeLimits
from inference_node.engines.engine import ChatMessage, EngineEvent, Finished, LoadedModel, Piece, Prompt
from shared.errors import Code, DomovoiError
from tests.inference_node.talker import FLOOD, MODULE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WITHIN_S = 30.0
LIMITS = TimeLimits(task_silence=1.0, ping_every=0.05, ping_silence=1.0, stop=1.0, end=1.0, look_every=0.02)


def talker(limits: TimeLimits = LIMITS) -> ChildEngine:
    return ChildEngine("talker", limits, MODULE)


def prompt(task: str) -> Prompt:
    return Prompt([ChatMessage("user", task)])


@pytest.fixture
async def engine() -> AsyncIterator[ChildEngine]:
    engine = talker()
    *_, loaded = [event async for event in engine.load(Path(__file__))]
    assert isinstance(loaded, LoadedModel)
    async with asyncio.timeout(WITHIN_S):
        yield engine
    await engine.unload()


def process_of(engine: ChildEngine) -> psutil.Process:
    assert engine.process_id is not None
    return psutil.Process(engine.process_id)


async def all_of(engine: ChildEngine, task: str) -> list[EngineEvent]:
    return [event async for event in engine.generate(prompt(task))]


async def failure_of(engine: ChildEngine, task: str) -> DomovoiError:
    with pytest.raises(DomovoiError) as failed:
        await all_of(engine, task)
    return failed.value


async def test_a_crash_ends_what_is_under_way_and_keeps_what_was_said(engine: ChildEngine) -> None:
    waiting = engine.generate(prompt("wait"))
    while not isinstance(await anext(waiting), Piece):
        pass
    events = []
    with pytest.raises(DomovoiError) as failed:  # noqa: PT012
        async for event in engine.generate(prompt("crash")):
            events.append(event)  # noqa: PERF401  # what came before the failure counts
    assert failed.value.code == Code.ENGINE_FAILED
    assert events[-1] == Piece("Half a ")
    with pytest.raises(DomovoiError):
        await anext(waiting)
    await waiting.aclose()
    assert not engine.pulse().is_alive


async def test_an_engine_that_pings_but_generates_nothing_is_killed(engine: ChildEngine) -> None:
    process = process_of(engine)
    generation = engine.generate(prompt("hang"))
    failing = asyncio.ensure_future(_rest(generation))
    while engine.pulse().silent_s < LIMITS.task_silence / 2:  # noqa: ASYNC110  # it is silence that is waited for
        await asyncio.sleep(0.01)
    assert engine.pulse().is_alive
    with pytest.raises(DomovoiError) as failed:
        await failing
    assert failed.value.code == Code.ENGINE_FAILED
    assert not process.is_running()


async def test_an_allocation_that_fails_in_native_code_is_told_as_what_it_is(engine: ChildEngine) -> None:
    assert (await failure_of(engine, "abort")).code == Code.OUT_OF_MEMORY
    assert engine.process_id is None


async def test_a_suspended_process_shows_by_its_silence_and_is_killed(engine: ChildEngine) -> None:
    process = process_of(engine)
    process.suspend()
    while engine.pulse().is_alive:  # noqa: ASYNC110  # nothing else tells
        await asyncio.sleep(0.01)
    assert not process.is_running()
    assert (await failure_of(engine, "1")).code == Code.ENGINE_FAILED


async def test_a_generation_that_does_not_stop_costs_the_process(engine: ChildEngine) -> None:
    async with aclosing(engine.generate(prompt("hang"))) as generation:
        await anext(generation)
    assert not engine.pulse().is_alive


async def test_an_end_that_was_cut_short_can_be_made_up_for(engine: ChildEngine) -> None:
    process = process_of(engine)
    process.suspend()
    ending = asyncio.create_task(engine.unload())
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait({ending})
    assert ending.cancelled()
    await engine.unload()
    assert not process.is_running()


async def test_want_of_memory_and_other_failures_of_one_answer_leave_the_process(engine: ChildEngine) -> None:
    assert (await failure_of(engine, "exhaust")).code == Code.OUT_OF_MEMORY
    assert (await failure_of(engine, "refuse")).detail == "It can't."
    assert engine.pulse().is_alive
    assert (await all_of(engine, "3"))[-1] == Finished("end", 1, 3)


async def test_eight_chats_and_one_reader_that_stands_still(engine: ChildEngine) -> None:
    still = engine.generate(prompt("flood"))
    async with aclosing(still):
        await anext(still)
        answers = await asyncio.gather(*(all_of(engine, "500") for _ in range(7)))
        for events in answers:
            assert events[-1] == Finished("end", 1, 500)
            assert sum(event.count for event in events if isinstance(event, Piece)) == 500
        rest = [event async for event in still]
    assert rest[-1] == Finished("end", 1, FLOOD)
    assert sum(event.count for event in rest if isinstance(event, Piece)) == FLOOD
    # What waited for it was one piece, not two hundred thousand.
    assert len(rest) < FLOOD / 10


@pytest.mark.skipif(sys.platform != "linux", reason="takes namespaces")
async def test_it_has_a_network_of_its_own_with_nothing_in_it(engine: ChildEngine) -> None:
    process = process_of(engine)
    own, other = (os.readlink(f"/proc/{pid}/ns/net") for pid in ("self", process.pid))
    if own == other:
        pytest.skip("this system allows no namespaces here")
    assert Path(f"/proc/{process.pid}/net/route").read_text("ascii").count("\n") <= 1  # noqa: ASYNC240


@pytest.mark.skipif(sys.platform != "linux", reason="takes Linux's parent-death signal")
def test_it_dies_with_its_parent_even_suspended() -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from tests.inference_node.test_child_process import talker\n"
        "async def main():\n"
        "    engine = talker()\n"
        "    async for _ in engine.load(pathlib.Path('x')): pass\n"
        "    print(engine.process_id, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    child.suspend()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    gone, _ = psutil.wait_procs([child], timeout=WITHIN_S)
    assert gone or child.status() == psutil.STATUS_ZOMBIE


async def _rest(generation: AsyncIterator[EngineEvent]) -> list[EngineEvent]:
    return [event async for event in generation]
