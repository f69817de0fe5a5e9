"""Anything in any order: starts, stops, other models, watchers that leave, engines that die. Nothing may wedge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from inference_node.accelerator import accelerated
from inference_node.engines.child_engine import ChildEngine, TimeLimits
from inference_node.engines.engine import ChatMessage, EngineOptions
from inference_node.loading.keeper import Keeper
from inference_node.loading.loader import Loader, LoadLimits
from inference_node.log import replica
from inference_node.log.database import Database
from inference_node.models.models import ModelStore
from inference_node.runs import run_table
from inference_node.runs.run import Asked
from inference_node.runs.runs import Runs
from inference_node.runs.turns import Turns
from shared.errors import Code, DomovoiError
from shared.runs import Ended
from shared.values import FINAL_STATES, Sampling
from tests.effort import SLOW
from tests.inference_node.gguf_file import write_gguf
from tests.inference_node.running_node import new_id
from tests.inference_node.scripted_engine import Script
from tests.inference_node.talker import MODULE

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from inference_node.engines.engine import Engine
    from inference_node.runs.run import Run

WITHIN_S = 120.0
SLOTS = 3
ACCOUNTS = [bytes([n]) * 16 for n in range(2)]
MODELS = st.sampled_from([None, "A", "B", "C", "D"])
LIMITS = {"first_pause": 0.0, "longest_pause": 0.0, "look_again": 0.001, "look_every": 0.001}
TIMES = TimeLimits(task_silence=1.0, ping_every=0.05, ping_silence=2.0, stop=1.0, end=1.0, look_every=0.02)
# There is room for two of the three models at once; the fourth does not exist.
ONE_MODEL = 120 * 1024**2
MEMORY = int(2.5 * ONE_MODEL)


class RunsMachine(RuleBasedStateMachine):
    """Runs over engines that a test makes; what is common to scripted engines and real processes."""

    tasks = st.just("Hello?")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="domovoi-test-"))
        self.runner = asyncio.Runner()
        self.started: list[Run] = []
        self.refused = 0
        self.within(self._open())

    def within(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def limited() -> Any:
            async with asyncio.timeout(WITHIN_S):
                return await work

        return self.runner.run(limited())

    def make_engine(self, name: str) -> Engine:
        raise NotImplementedError

    def memory_free(self) -> int:
        return MEMORY

    def processes(self) -> int:
        """How many engines have a process that is not known to be gone."""
        raise NotImplementedError

    async def _open(self) -> None:
        models = self.folder / "models"
        models.mkdir()
        for name in ("A", "B", "C"):
            write_gguf(models / f"{name}.gguf")
        self.database = await Database.open(self.folder / "node.db")
        async with self.database.transaction() as connection:
            for account in ACCOUNTS:
                await replica.serve(connection, account, os.urandom(8), 0)
        limits = LoadLimits(options=EngineOptions(slots=SLOTS), probe=5.0, low_memory=0, **LIMITS)
        loader = Loader(self.make_engine, ["native", "llama_cpp"], limits=limits, memory_free=self.memory_free)
        self.turns = Turns()
        self.keeper = Keeper(ModelStore(models), loader, "A", self.turns.resize)
        self.runs = Runs(self.database, self.keeper, self.turns, lambda place: None)
        self.keeping = asyncio.create_task(self.keeper.run())

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.start(ACCOUNTS[0], data, 4)

    @rule(account=st.sampled_from(ACCOUNTS), data=st.data(), count=st.integers(1, 4))
    def start(self, account: bytes, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            path = [ChatMessage("user", data.draw(self.tasks))]
            self._start(Asked(account, new_id(), new_id(), data.draw(MODELS), Sampling(), path))

    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        """Another answer to the same question."""
        if self.started:
            asked = data.draw(st.sampled_from(self.started)).asked
            self._start(msgspec.structs.replace(asked, answer=new_id()))

    @rule(data=st.data())
    def start_twice(self, data: st.DataObject) -> None:
        if self.started:
            run = data.draw(st.sampled_from(self.started))
            said, state = self.within(self._start_again(run))
            assert said == state

    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        if self.started:
            run = data.draw(st.sampled_from(self.started))
            assert self.runs.stop(run.asked.account, run.asked.answer)

    @rule(data=st.data())
    def watch_and_leave(self, data: st.DataObject) -> None:
        if self.started:
            self.within(self._watch(data.draw(st.sampled_from(self.started))))

    @rule(model=MODELS)
    def load(self, model: str | None) -> None:
        self.within(self._by_hand(self.keeper.load, model))

    @rule(model=MODELS)
    def unload(self, model: str | None) -> None:
        self.within(self._by_hand(self.keeper.unload, model))

    @rule(turns=st.integers(1, 20))
    def go_on(self, turns: int) -> None:
        self.within(self._go_on(turns))

    @invariant()
    def nobody_takes_more_than_their_turns(self) -> None:
        assert self.turns.waiting >= 0
        users = sum(status.generating for status in self.keeper.statuses())
        # Probes and loads for nobody are users too, one a model at most.
        assert users <= self.turns.current + len(self.keeper.statuses())

    async def _start_again(self, run: Run) -> tuple[str, str]:
        # Compared before anything else may happen: it may end at any moment.
        return await self.runs.start(run.asked), run.state

    def _start(self, asked: Asked) -> None:
        try:
            state = self.within(self.runs.start(asked))
        except DomovoiError as error:
            assert error.code == Code.ENGINE_BUSY  # noqa: PT017  # the one refusal there is
            self.refused += 1
            return
        assert state == "queued"
        run = self.runs.find(asked.account, asked.answer)
        assert run is not None
        self.started.append(run)

    async def _watch(self, run: Run) -> None:
        async with aclosing(run.replay.follow(0)) as frames:
            if run.replay.last:
                await anext(frames)

    async def _by_hand(self, act: Any, model: str | None) -> None:
        try:
            act(model)
        except DomovoiError as error:
            assert (model, error.code) == ("D", Code.MODEL_MISSING)  # noqa: PT017

    async def _go_on(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    def let_end(self) -> None:
        """Have whatever still runs end."""

    async def _end(self) -> None:
        while any(run.state not in FINAL_STATES for run in self.started):
            self.let_end()
            await asyncio.sleep(0.001)
        for run in self.started:
            frames = [frame async for frame in run.replay.follow(0)]
            ends = [n for n, frame in enumerate(frames) if b"event: ended" in frame]
            assert ends == [len(frames) - 1], "each run ends exactly once, and last"
            async with self.database.transaction() as connection:
                assert await run_table.state(connection, run.asked.account, run.asked.answer) == run.state
            data = frames[-1].split(b"data: ")[1]
            state = msgspec.json.decode(data, type=Ended).state
            assert state.state == run.state
            if run.asked.model == "D":
                assert state.state == "stopped" or state.code == Code.MODEL_MISSING
        assert (self.turns.waiting, self.turns.current) == (0, 0)
        self.keeping.cancel()
        await asyncio.gather(self.keeping, return_exceptions=True)
        assert all(status.generating == 0 for status in self.keeper.statuses())
        await self.runs.close()
        await self.keeper.close()
        await self.database.close()
        assert self.processes() == 0, "an engine outlives its keeper"

    def teardown(self) -> None:
        try:
            self.within(self._end())
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)


class ScriptedMachine(RunsMachine):
    """Engines that say what the test tells them."""

    def make_engine(self, name: str) -> Engine:
        return self.script.make_engine(name)

    def memory_free(self) -> int:
        return MEMORY - ONE_MODEL * sum(engine.is_loaded for _, engine in self.script.engines)

    def processes(self) -> int:
        return sum(engine.process_of is not None for _, engine in self.script.engines)

    @invariant()
    def no_model_has_two_processes(self) -> None:
        assert self.script.doubled == []

    async def _open(self) -> None:
        self.script = Script(slots=SLOTS)
        self.script.held = True
        await super()._open()

    @rule(words=st.integers(1, 5))
    def say(self, words: int) -> None:
        self._tell(lambda: self.script.say(*["word "] * words))

    @rule()
    def finish(self) -> None:
        self._tell(self.script.finish)

    @rule()
    def crash(self) -> None:
        self._tell(self.script.crash)

    @rule(code=st.sampled_from([Code.OUT_OF_MEMORY, Code.UNSUPPORTED, Code.ENGINE_FAILED]))
    def fail_to_load(self, code: Code) -> None:
        self.script.load_failures.append(DomovoiError(code))

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """The process is gone, whether or not somebody is just being answered."""
        if self.script.engines:
            _, engine = data.draw(st.sampled_from(self.script.engines))
            engine.is_dead = True

    def _tell(self, tell: Any) -> None:
        async def told() -> None:
            tell()

        self.within(told())

    def let_end(self) -> None:
        self.script.load_failures.clear()
        self.script.finish()


class ProcessMachine(RunsMachine):
    """Engines in real processes."""

    def __init__(self) -> None:
        self.made: list[ChildEngine] = []
        super().__init__()

    def make_engine(self, name: str) -> Engine:
        made = self.make_child()
        self.made.append(made)
        return made

    def make_child(self) -> ChildEngine:
        raise NotImplementedError

    def processes(self) -> int:
        return sum(made.process_id is not None for made in self.made)


class TalkerMachine(ProcessMachine):
    """Real processes that do what prompts say."""

    tasks = st.sampled_from(["1", "20", "wait", "crash", "exhaust", "refuse", "hang"])

    def make_child(self) -> ChildEngine:
        return ChildEngine("talker", TIMES, MODULE)

    @rule()
    def see_one_end(self) -> None:
        self.within(self._see_one_end())

    async def _see_one_end(self) -> None:
        left = [run for run in self.started if run.state not in FINAL_STATES]
        for run in left:
            if run.asked.path[-1].content == "wait":
                run.stop()
        while left and not any(run.state in FINAL_STATES for run in left):  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.001)

    def let_end(self) -> None:
        for run in self.started:
            run.stop()


class EngineMachine(ProcessMachine):
    """A real engine with a model without sense: starts, stops, other models, and kills."""

    engine = "llama_cpp"
    model: Path
    tasks = st.sampled_from(["Hello?", "Tell me a story."])

    def make_child(self) -> ChildEngine:
        return ChildEngine(self.engine)

    async def _open(self) -> None:
        await super()._open()
        for name in ("A", "B", "C"):
            path = self.folder / "models" / f"{name}.gguf"
            path.unlink()
            os.link(self.model, path)

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        living = [made.process_id for made in self.made if made.process_id is not None]
        if living:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(data.draw(st.sampled_from(living))).kill()

    @rule()
    def see_words(self) -> None:
        """Whatever was done before, who waits gets words or an end: else it is wedged."""
        self.within(self._see_words())

    async def _see_words(self) -> None:
        waiting = [run for run in self.started if run.state not in FINAL_STATES]
        before = sum(run.completion_tokens for run in waiting)
        while (  # noqa: ASYNC110  # nothing tells
            waiting
            and all(run.state not in FINAL_STATES for run in waiting)
            and sum(run.completion_tokens for run in waiting) == before
        ):
            await asyncio.sleep(0.002)

    def let_end(self) -> None:
        for run in self.started:
            run.stop()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("engine", ["native", "llama_cpp"] if accelerated else ["llama_cpp"])
def test_real_engines_in_any_order(engine: str, tiny_model: Path) -> None:
    machine = type("Machine", (EngineMachine,), {"engine": engine, "model": tiny_model})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=3 if SLOW else 1,
            stateful_step_count=500 if SLOW else 30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


TestScripted = ScriptedMachine.TestCase
TestScripted.settings = settings(
    max_examples=3, stateful_step_count=500, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTalker = TalkerMachine.TestCase
TestTalker.settings = settings(
    max_examples=3, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestScripted.pytestmark = TestTalker.pytestmark = [pytest.mark.timeout(300)]  # type: ignore[attr-defined]
