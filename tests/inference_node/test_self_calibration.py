"""Measuring unasked: once, and never in anybody's way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from inference_node.hardware.survey import Hardware, survey
from inference_node.loading.calibration import Calibrations
from inference_node.loading.loader import Loader
from inference_node.loading.self_calibration import SelfCalibration
from inference_node.runs.turns import Turns
from shared.errors import Code, DomovoiError
from tests.inference_node.scripted_engine import Script
from tests.inference_node.test_keeper import ONE_MODEL, Household, household, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

ENGINES = ("native", "llama_cpp")


class Measured(NamedTuple):
    home: Household
    # Of the engines that are measured, not of the one that answers.
    script: Script
    turns: Turns
    calibrations: Calibrations
    hardware: Hardware

    @property
    def known(self) -> list[str]:
        model = self.home.keeper.store.find("A")
        return [name for name in ENGINES if self.calibrations.find(name, model, self.hardware) is not None]


async def a_while() -> None:
    """Give it every chance to do what it should not."""
    for _ in range(100):
        await asyncio.sleep(0)


@asynccontextmanager
async def measured(
    tmp_path: Path, *, others: Callable[[], float] = float, memory_free: Callable[[], int] = lambda: 10 * ONE_MODEL
) -> AsyncIterator[Measured]:
    folder = tmp_path / "models"
    folder.mkdir()
    async with household(folder, run=True) as home:
        await until(lambda: home.loaded == ["A"])
        turns, script = Turns(), Script(answer="word " * 20)
        calibrations = Calibrations(tmp_path / "node" / "calibrations.json")
        loader = Loader(script.make_engine, ENGINES, memory_free=memory_free)
        calibrating = SelfCalibration(home.keeper, turns, loader, calibrations, "A", pause_s=0.0, others=others)
        running = asyncio.create_task(calibrating.run())
        try:
            yield Measured(home, script, turns, calibrations, survey(folder))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert not any(engine.process_of for _, engine in script.engines)


async def test_every_engine_is_measured_once_and_remembered(tmp_path: Path) -> None:
    async with measured(tmp_path) as node:
        await until(lambda: node.known == [*ENGINES])
        await a_while()
        assert [name for name, _ in node.script.engines] == [*ENGINES]
        # The engine that answers was left alone.
        assert len(node.home.script.engines) == 1


@pytest.mark.parametrize(
    "settings", [{"others": lambda: 0.5}, {"memory_free": lambda: 1_000_000}], ids=["busy machine", "little memory"]
)
async def test_it_measures_only_where_that_says_something_and_harms_nobody(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    asked = 0
    ((name, answer),) = settings.items()

    def counted() -> Any:
        nonlocal asked
        asked += 1
        return answer()

    async with measured(tmp_path, **{name: counted}) as node:
        await until(lambda: asked > 3)
        assert node.script.engines == []


async def test_who_asks_meanwhile_has_the_machine_at_once(tmp_path: Path) -> None:
    async with measured(tmp_path) as node:
        node.script.held = True
        await node.script.generating.wait()
        ticket = node.turns.take("somebody", "A")
        await until(lambda: not any(engine.process_of for _, engine in node.script.engines))
        made = len(node.script.engines)
        await a_while()
        assert len(node.script.engines) == made
        node.script.held = False
        ticket.release()
        await until(lambda: node.known == [*ENGINES])


async def test_an_engine_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    async with measured(tmp_path) as node:
        node.script.load_failures = [DomovoiError(Code.UNSUPPORTED)]
        await until(lambda: node.known == ["llama_cpp"])
        await a_while()
        assert [name for name, _ in node.script.engines] == [*ENGINES]
