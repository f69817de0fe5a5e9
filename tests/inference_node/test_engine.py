"""The contract of engines, for every one there is: the real one in its process, and the scripted one of the tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from inference_node.child_engine import ChildEngine
from inference_node.engine import Begun, EngineEvent, Finished, Piece, Prompt, Working
from shared.errors import Code, DomovoiError
from shared.values import Sampling
from shared.wire import PathMessage
from tests.inference_node.running_node import add_tiny_model
from tests.inference_node.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from inference_node.engine import Engine

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTEXT_TOKENS = 512
SHORT = Sampling(max_tokens=8, temperature=0, seed=1)


def ask(text: str = "Say hello.", sampling: Sampling = SHORT, stop: list[str] | None = None) -> Prompt:
    return Prompt([PathMessage("user", text)], sampling, stop or [])


async def load(engine: Engine, model: Path) -> list[float]:
    return [progress async for progress in engine.load(model)]


async def said(engine: Engine, prompt: Prompt) -> list[EngineEvent]:
    return [event async for event in engine.generate(prompt)]


def text(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Piece))


@pytest.fixture(scope="module", params=["llama_cpp", "scripted"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "scripted":
        return add_tiny_model(tmp_path_factory.mktemp("data"))
    path: Path = request.getfixturevalue("default_test_model")
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept_engine(model: Path) -> AsyncIterator[Engine]:
    made: Engine = ScriptedEngine() if model.name.startswith("Tiny") else ChildEngine(context_tokens=CONTEXT_TOKENS)
    yield made
    await made.unload()


@pytest_asyncio.fixture(loop_scope="module")
async def engine(kept_engine: Engine, model: Path) -> Engine:
    """The engine of this module, loaded: loading the real one takes most of the time."""
    if not kept_engine.is_alive:
        await load(kept_engine, model)
    return kept_engine


async def test_loading_tells_its_progress_up_to_one(kept_engine: Engine, model: Path) -> None:
    assert not kept_engine.is_alive
    progress = await load(kept_engine, model)
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0.0, 1.0)
    assert kept_engine.is_alive


async def test_a_generation_begins_says_pieces_and_finishes(engine: Engine) -> None:
    events = await said(engine, ask())
    begun, *middle, finished = events
    assert isinstance(begun, Begun)
    assert begun.prompt_tokens > 0
    assert begun.dropped_messages == 0
    assert isinstance(finished, Finished)
    assert {type(event) for event in middle} <= {Piece, Working}
    assert text(events)
    assert 0 < finished.completion_tokens <= 8


async def test_the_greatest_length_ends_it(engine: Engine) -> None:
    finished = (await said(engine, ask("Count from one to fifty.", Sampling(max_tokens=2))))[-1]
    assert finished == Finished("length", 2)


async def test_generations_follow_each_other(engine: Engine) -> None:
    first = text(await said(engine, ask()))
    assert text(await said(engine, ask())) == first


async def test_stop_ends_a_generation_and_the_next_one_works(engine: Engine) -> None:
    if isinstance(engine, ScriptedEngine):
        engine.gate.clear()
    prompt = ask("Tell a very long story.", Sampling(temperature=0))
    events = []
    async for event in engine.generate(prompt):
        events.append(event)
        if isinstance(event, Piece) and len(events) < 8:
            stopping = asyncio.create_task(engine.stop())
            await asyncio.sleep(0)
    await stopping
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stopped"
    assert engine.is_alive
    if isinstance(engine, ScriptedEngine):
        engine.gate.set()
    assert text(await said(engine, ask()))


async def test_stopping_an_idle_engine_does_nothing(engine: Engine) -> None:
    await engine.stop()
    assert text(await said(engine, ask()))


async def test_a_message_too_long_is_refused(engine: Engine) -> None:
    with pytest.raises(DomovoiError) as refusal:
        await said(engine, ask("word " * 1000))
    assert refusal.value.code is Code.CONTEXT_TOO_LONG
    assert text(await said(engine, ask()))


async def test_a_damaged_model_is_said_to_be_one(engine: Engine, model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUG" + bytes(100))
    with pytest.raises(DomovoiError) as refusal:
        await load(engine, broken)
    assert refusal.value.code is Code.MODEL_DAMAGED
    assert not engine.is_alive
    await load(engine, model)
    assert engine.is_alive


async def test_unloaded_it_generates_nothing(engine: Engine) -> None:
    await engine.unload()
    assert not engine.is_alive
    with pytest.raises(DomovoiError) as refusal:
        await said(engine, ask())
    assert refusal.value.code is Code.ENGINE_FAILED
