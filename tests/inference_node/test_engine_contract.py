"""What every engine has to do, tried on the real one and on the one that other tests use in its place."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from inference_node.child_engine import ChildEngine
from inference_node.engine import ChatMessage, Engine, EngineEvent, Finished, LoadedModel, Piece, Prompt, PromptTooLong
from shared.errors import Code, DomovoiError
from shared.values import Sampling
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

# One engine for the whole file: each test leaves it free for the next.
pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = [ChatMessage("user", "Say hello, please.")]
# Long enough to be stopped in the middle.
STORY = Prompt([ChatMessage("user", "Tell me a very long story about a house.")], Sampling(seed=1))


class Loaded(NamedTuple):
    engine: Engine
    model: LoadedModel


def _scripted() -> Engine:
    return Script(context=2000, answer="word " * 500).make_engine()


@pytest.fixture(scope="module", params=[ChildEngine, _scripted], ids=["llama_cpp", "scripted"])
def make_engine(request: pytest.FixtureRequest) -> Callable[[], Engine]:
    make: Callable[[], Engine] = request.param
    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loaded(make_engine: Callable[[], Engine], default_test_model: Path) -> AsyncIterator[Loaded]:
    engine = make_engine()
    yield Loaded(engine, await engine.load(default_test_model))
    await engine.unload()


async def _all(engine: Engine, prompt: Prompt) -> list[EngineEvent]:
    return [event async for event in engine.generate(prompt)]


async def test_an_answer_is_pieces_and_one_end(loaded: Loaded) -> None:
    *events, last = await _all(loaded.engine, Prompt(HELLO, Sampling(max_tokens=8, temperature=0.0)))
    pieces = [event.text for event in events if isinstance(event, Piece)]
    assert pieces
    assert all(pieces)
    assert isinstance(last, Finished)
    assert last.reason in {"end", "length"}
    assert last.prompt_tokens > 0
    assert 0 < last.completion_tokens <= 8
    assert not any(isinstance(event, Finished) for event in events)


async def test_max_tokens_ends_the_answer(loaded: Loaded) -> None:
    events = await _all(loaded.engine, Prompt(STORY.messages, Sampling(max_tokens=5, seed=1)))
    assert events[-1].reason == "length"  # type: ignore[union-attr]
    assert events[-1].completion_tokens == 5  # type: ignore[union-attr]


async def test_stop_ends_the_answer_and_frees_the_engine(loaded: Loaded) -> None:
    events = []
    async for event in loaded.engine.generate(STORY):
        events.append(event)
        if isinstance(event, Piece):
            await loaded.engine.stop()
    assert events[-1] == Finished("stopped", events[-1].prompt_tokens, events[-1].completion_tokens)  # type: ignore[union-attr]
    again = await _all(loaded.engine, Prompt(HELLO, Sampling(max_tokens=2)))
    assert isinstance(again[-1], Finished)


async def test_leaving_an_answer_frees_the_engine(loaded: Loaded) -> None:
    async with aclosing(loaded.engine.generate(STORY)) as events:
        async for event in events:
            if isinstance(event, Piece):
                break
    again = await _all(loaded.engine, Prompt(HELLO, Sampling(max_tokens=2)))
    assert isinstance(again[-1], Finished)


async def test_stop_without_an_answer_does_nothing(loaded: Loaded) -> None:
    await loaded.engine.stop()
    events = await _all(loaded.engine, Prompt(HELLO, Sampling(max_tokens=2)))
    assert events[-1].reason != "stopped"  # type: ignore[union-attr]


async def test_a_prompt_that_leaves_no_room_is_refused_before_it_is_read(loaded: Loaded) -> None:
    long = [ChatMessage("user", "word " * 3 * loaded.model.context)]
    with pytest.raises(PromptTooLong) as refused:
        await _all(loaded.engine, Prompt(long))
    assert refused.value.tokens > loaded.model.context
    with pytest.raises(PromptTooLong) as refused:
        await _all(loaded.engine, Prompt(HELLO, room=loaded.model.context - 1))
    assert refused.value.tokens < loaded.model.context
    assert (await _all(loaded.engine, Prompt(HELLO, Sampling(max_tokens=2))))[-1].prompt_tokens == refused.value.tokens  # type: ignore[union-attr]


async def test_a_file_that_is_no_model_is_refused(make_engine: Callable[[], Engine], tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"This is not a model.")
    engine = make_engine()
    with pytest.raises(DomovoiError) as refused:
        await engine.load(file)
    assert refused.value.code == Code.MODEL_DAMAGED
    await engine.unload()


async def test_an_engine_without_a_model_fails_by_name(make_engine: Callable[[], Engine]) -> None:
    with pytest.raises(DomovoiError) as refused:
        async with asyncio.timeout(10):
            await _all(make_engine(), STORY)
    assert refused.value.code == Code.ENGINE_FAILED
