"""Keeping models in memory, over engines that fail as a test tells them to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from inference_node.loading.keeper import Keeper
from inference_node.loading.loader import Loader, LoadLimits
from inference_node.models.models import ModelStore
from shared.errors import Code, DomovoiError
from tests.inference_node.gguf_file import write_gguf
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from inference_node.loading.ready import Ready

WITHIN_S = 20.0
# What an engine for the small test models takes: next to nothing beside its own code.
ONE_MODEL = 120 * 1024**2
LIMITS = LoadLimits(
    low_memory=1, first_pause=0.0, longest_pause=0.0, look_again=0.001, look_every=0.001, suspect=5.0, probe=0.05
)


class Household(NamedTuple):
    keeper: Keeper
    script: Script
    loader: Loader

    @property
    def loaded(self) -> list[str]:
        return sorted(status.name for status in self.keeper.statuses() if status.state == "ready")


@asynccontextmanager
async def household(
    folder: Path, *, engines: tuple[str, ...] = ("native", "llama_cpp"), memory: int = 10 * ONE_MODEL, run: bool = False
) -> AsyncIterator[Household]:
    """A keeper over three models; `memory` bytes are there for engines."""
    for name in ("A", "B", "C"):
        write_gguf(folder / f"{name}.gguf")
    script = Script()

    def memory_free() -> int:
        return memory - ONE_MODEL * sum(engine.is_loaded for _, engine in script.engines)

    loader = Loader(script.make_engine, engines, limits=LIMITS, memory_free=memory_free)
    keeper = Keeper(ModelStore(folder), loader, "A")
    running = asyncio.create_task(keeper.run()) if run else None
    try:
        async with asyncio.timeout(WITHIN_S):
            yield Household(keeper, script, loader)
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await keeper.close()
        assert not any(engine.process_of for _, engine in script.engines)
        assert script.doubled == []


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # no event tells of it
        await asyncio.sleep(0)


async def test_those_who_wait_for_one_model_share_one_load(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        ready = await asyncio.gather(*(home.keeper.acquire("A") for _ in range(5)))
        assert len(home.script.loads) == 1
        assert {id(one) for one in ready} == {id(ready[0])}
        assert ready[0].users == 5
        for one in ready:
            home.keeper.release(one)
        assert ready[0].users == 0


async def test_a_model_that_does_not_fit_beside_them_takes_the_place_of_the_one_used_longest_ago(
    tmp_path: Path,
) -> None:
    async with household(tmp_path, memory=int(2.5 * ONE_MODEL)) as home:
        for name in ("A", "B", "A", "C"):
            home.keeper.release(await home.keeper.acquire(name))
        assert home.loaded == ["A", "C"]


async def test_a_model_in_use_is_not_taken_away(tmp_path: Path) -> None:
    async with household(tmp_path, memory=int(1.5 * ONE_MODEL)) as home:
        used = await home.keeper.acquire("A")
        other = asyncio.create_task(home.keeper.acquire("B"))
        await until(lambda: used.is_leaving)
        assert home.loaded == ["A"]
        assert {status.state for status in home.keeper.statuses()} == {"ready", "waiting"}
        # Who comes now for the one that leaves waits behind, so that both get their turn.
        late = asyncio.create_task(home.keeper.acquire("A"))
        home.keeper.release(used)
        ready = await other
        assert home.loaded == ["B"]
        assert not late.done()
        home.keeper.release(ready)
        home.keeper.release(await late)
        assert home.loaded == ["A"]


async def test_who_gives_up_waiting_is_no_user(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        waiting = [asyncio.create_task(home.keeper.acquire("A")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        ready = await waiting[1]
        assert ready is await waiting[2]
        assert ready.users == 2
        # The load goes on although nobody waits.
        alone = asyncio.create_task(home.keeper.acquire("B"))
        await asyncio.sleep(0)
        alone.cancel()
        await until(lambda: home.loaded == ["A", "B"])
        assert [status.generating for status in home.keeper.statuses() if status.name == "B"] == [0]


async def test_who_gives_up_as_the_model_arrives_is_no_user(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        waiting = asyncio.create_task(home.keeper.acquire("A"))
        # It is there, and the one who waits has not been told yet.
        await until(lambda: home.loaded == ["A"])
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert [status.generating for status in home.keeper.statuses()] == [0]


async def test_an_engine_that_does_not_know_the_model_leaves_it_to_the_next_aloud(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        home.script.load_failures = [DomovoiError(Code.UNSUPPORTED, "No such architecture.")]
        home.keeper.release(await home.keeper.acquire("A"))
        assert [name for name, _ in home.script.engines] == ["native", "llama_cpp"]
        (step,) = home.keeper.steps
        assert (step.model, step.engine, step.what, step.to) == ("A", "native", "engine", "llama_cpp")
        assert step.detail == "No such architecture."
        # It is remembered, and other models begin at the top.
        home.keeper.release(await home.keeper.acquire("B"))
        assert home.script.engines[-1][0] == "native"


async def test_too_little_memory_means_less_context(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        home.script.load_failures = [DomovoiError(Code.OUT_OF_MEMORY) for _ in range(3)]
        home.keeper.release(await home.keeper.acquire("A"))
        assert [(step.what, step.to) for step in home.keeper.steps] == [
            *(("slots", "2"), ("slots", "1"), ("context", "4096")),
        ]
        assert home.script.options[-1].context == 4096
        # Asked by hand, it is tried anew as at first.
        home.keeper.load("A")
        await until(lambda: len(home.script.options) == 5 and home.loaded == ["A"])
        assert home.script.options[-1].context == 8192


async def test_an_engine_that_crashes_at_every_start_gives_way_to_the_next(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        home.script.load_failures = [DomovoiError(Code.ENGINE_FAILED) for _ in range(3)]
        home.keeper.release(await home.keeper.acquire("A"))
        assert [name for name, _ in home.script.engines] == ["native"] * 3 + ["llama_cpp"]


async def test_an_engine_that_loads_but_makes_no_token_is_not_taken(tmp_path: Path) -> None:
    async with household(tmp_path, engines=("llama_cpp",)) as home:
        home.script.is_mute = True
        with pytest.raises(DomovoiError) as refused:
            await home.keeper.acquire("A")
        assert refused.value.code == Code.ENGINE_UNAVAILABLE
        assert home.keeper.state.state == "failed"
        assert not any(engine.is_loaded for _, engine in home.script.engines)
        home.script.is_mute = False
        home.keeper.release(await home.keeper.acquire("A"))
        assert home.keeper.state.state == "ready"


async def test_an_engine_that_dies_unseen_is_started_again(tmp_path: Path) -> None:
    async with household(tmp_path, run=True) as home:
        await until(lambda: home.loaded == ["A"])
        home.script.engines[0][1].is_dead = True
        await until(lambda: len(home.script.engines) == 2 and home.loaded == ["A"])
        assert not home.script.engines[0][1].is_loaded


async def test_a_silent_engine_is_unhealthy_and_well_again_when_it_speaks(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        home.keeper.release(await home.keeper.acquire("A"))
        home.script.silent_s = LIMITS.suspect + 1
        assert home.keeper.state[:3] == ("failed", "A", Code.ENGINE_FAILED)
        assert [status.state for status in home.keeper.statuses()] == ["stalled"]
        home.script.silent_s = 0.0
        assert home.keeper.state.state == "ready"


async def test_after_the_machine_slept_engines_prove_themselves(tmp_path: Path) -> None:
    async with household(tmp_path, run=True) as home:
        await until(lambda: home.loaded == ["A"])
        home.script.is_mute = True
        await home.keeper.look(is_awake_again=True)
        assert home.loaded == []
        home.script.is_mute = False
        await until(lambda: home.loaded == ["A"])


async def test_the_failure_of_one_answer_does_not_cut_short_another(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        first, second = [await home.keeper.acquire("A") for _ in range(2)]
        home.keeper.lost(first, DomovoiError(Code.ENGINE_FAILED))
        home.keeper.lost(second, DomovoiError(Code.ENGINE_FAILED))
        home.keeper.release(first)
        await asyncio.sleep(0)
        assert home.script.engines[0][1].is_loaded
        again = asyncio.create_task(home.keeper.acquire("A"))
        home.keeper.release(second)
        assert (await again) is not first
        assert not home.script.engines[0][1].is_loaded
        home.keeper.release(await again)


async def test_without_memory_what_nobody_uses_goes_and_one_model_stays(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        for name in ("A", "B", "C"):
            home.keeper.release(await home.keeper.acquire(name))
        home.loader.memory_free = lambda: 0
        for _ in range(5):
            await home.keeper.look()
        assert home.loaded == ["C"]


async def test_unloaded_by_hand_it_rests_until_it_is_asked_for(tmp_path: Path) -> None:
    async with household(tmp_path, run=True) as home:
        await until(lambda: home.loaded == ["A"])
        home.keeper.unload("A")
        await until(lambda: home.keeper.state.state == "resting")
        for _ in range(10):
            await home.keeper.look()
        assert home.keeper.state.state == "resting"
        assert home.loaded == []
        home.keeper.release(await home.keeper.acquire(None))
        assert home.loaded == ["A"]


async def test_a_model_that_is_not_there_fails_by_name_and_leaves_the_rest(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        with pytest.raises(DomovoiError) as refused:
            await home.keeper.acquire("D")
        assert refused.value.code == Code.MODEL_MISSING
        assert home.keeper.state[:3] == ("failed", None, Code.MODEL_MISSING)
        home.keeper.release(await home.keeper.acquire("A"))
        with pytest.raises(DomovoiError):
            await home.keeper.acquire("D")
        assert home.keeper.state.state == "ready"


async def test_loading_can_be_seen(tmp_path: Path) -> None:
    async with household(tmp_path) as home:
        seen = []
        home.loader.board.on_change = lambda: seen.extend(home.keeper.statuses())
        home.keeper.release(await home.keeper.acquire("A"))
        assert [status.state for status in seen if status.state != "ready"][:2] == ["waiting", "loading"]
        assert all(status.done <= status.total for status in seen)
        assert home.keeper.statuses()[0].engine == "scripted"


def _by_hand(home: Household, used: Ready) -> None:
    home.keeper.release(used)
    home.keeper.unload("A")


def _lost(home: Household, used: Ready) -> None:
    home.keeper.lost(used, DomovoiError(Code.ENGINE_FAILED))
    home.keeper.release(used)


def _better(home: Household, used: Ready) -> None:
    """It had stepped down, and is to be loaded the best way."""
    home.keeper.release(used)
    home.loader.note_failure(used.model, DomovoiError(Code.OUT_OF_MEMORY))
    home.keeper.load("A")


def _another(home: Household, used: Ready) -> None:
    """There is no room beside it."""
    home.keeper.release(used)
    home.keeper.load("B")


@pytest.mark.parametrize("way", [_by_hand, _lost, _better, _another])
async def test_closed_at_any_moment_no_engine_is_left(tmp_path: Path, way: Callable[[Household, Ready], None]) -> None:
    for turns in range(60):
        folder = tmp_path / f"{turns}"
        folder.mkdir()
        async with household(folder, memory=int(1.5 * ONE_MODEL), run=True) as home:
            way(home, await home.keeper.acquire("A"))
            for _ in range(turns):
                await asyncio.sleep(0)
