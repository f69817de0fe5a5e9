"""What every engine has to do, tried on the real one and on the one that other tests use in its place."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jsonschema
import msgspec
import pytest
import pytest_asyncio

from inference_node.accelerator import accelerated
from inference_node.engines.child_engine import ChildEngine
from inference_node.engines.engine import (
    ChatMessage,
    Engine,
    EngineEvent,
    EngineOptions,
    Finished,
    LoadedModel,
    LoadProgress,
    Piece,
    Prompt,
    PromptTooLong,
    ToolCall,
    ToolCallPiece,
)
from inference_node.openai.tool_calls import Part, ToolCallReader
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
# Greedily, because then a model without sense goes round in circles for longer than any test listens.
STORY = Prompt([ChatMessage("user", "Tell me a very long story about a house.")], Sampling(temperature=0.0))
CALL = {
    "type": "object",
    "properties": {
        "name": {"const": "get_weather"},
        "arguments": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "arguments"],
    "additionalProperties": False,
}
WEATHER = {"name": "get_weather", "parameters": CALL["properties"]["arguments"]}  # type: ignore[index]
TOOLS = msgspec.json.encode([{"type": "function", "function": WEATHER}]).decode()
OPTIONS = EngineOptions(context=2048, slots=2)


class Loaded(NamedTuple):
    engine: Engine
    model: LoadedModel
    progress: list[LoadProgress]


def _scripted() -> Engine:
    return Script(context=2000, answer="word " * 500, slots=2).make_engine()


# Each engine is held to the same.
ENGINES: dict[str, Callable[[], Engine]] = {"llama_cpp": partial(ChildEngine, "llama_cpp"), "scripted": _scripted}
if accelerated:
    ENGINES["native"] = partial(ChildEngine, "native")


@pytest.fixture(scope="module", params=list(ENGINES.values()), ids=list(ENGINES))
def make_engine(request: pytest.FixtureRequest) -> Callable[[], Engine]:
    make: Callable[[], Engine] = request.param
    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loaded(make_engine: Callable[[], Engine], tiny_model: Path) -> AsyncIterator[Loaded]:
    engine = make_engine()
    *progress, model = [event async for event in engine.load(tiny_model, OPTIONS)]
    assert isinstance(model, LoadedModel)
    yield Loaded(engine, model, [event for event in progress if isinstance(event, LoadProgress)])
    await engine.unload()


async def _all(engine: Engine, prompt: Prompt) -> list[EngineEvent]:
    return [event async for event in engine.generate(prompt)]


async def _finished(engine: Engine, prompt: Prompt) -> Finished:
    last = (await _all(engine, prompt))[-1]
    assert isinstance(last, Finished)
    return last


def _stopped(loaded: Loaded, last: Finished) -> str:
    """Return the reason of what was stopped: on a machine that kept the test waiting, all that fits came before."""
    is_full = last.prompt_tokens + last.completion_tokens >= loaded.model.context - 1
    return "length" if is_full else "stopped"


async def _text(engine: Engine, prompt: Prompt) -> str:
    return "".join(event.text for event in await _all(engine, prompt) if isinstance(event, Piece))


async def test_loading_says_how_far_it_is(loaded: Loaded) -> None:
    assert loaded.progress
    done = [progress.done for progress in loaded.progress]
    assert done == sorted(done)
    assert all(progress.done <= progress.total for progress in loaded.progress)
    assert loaded.progress[-1].done == loaded.progress[-1].total
    assert loaded.model.slots == OPTIONS.slots
    assert 0 < loaded.model.context <= OPTIONS.context


async def test_a_packed_cache_answers_too(make_engine: Callable[[], Engine], default_test_model: Path) -> None:
    engine = make_engine()
    packed = EngineOptions(context=512, slots=1, cache="q8_0")
    async with aclosing(engine.load(default_test_model, packed)) as events:
        *_, model = [event async for event in events]
    assert isinstance(model, LoadedModel)
    assert (await _finished(engine, Prompt(HELLO, Sampling(max_tokens=8, temperature=0.0)))).completion_tokens > 0
    await engine.unload()


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
    generation = loaded.engine.generate(STORY)
    async for event in generation:
        events.append(event)
        if isinstance(event, Piece):
            generation.stop()
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == _stopped(loaded, events[-1])
    assert events[-1].prompt_tokens > 0
    # Once more changes nothing.
    generation.stop()
    await generation.aclose()
    assert (await _finished(loaded.engine, Prompt(HELLO, Sampling(max_tokens=2)))).reason != "stopped"


async def test_a_stop_before_the_beginning_is_kept(loaded: Loaded) -> None:
    generation = loaded.engine.generate(STORY)
    generation.stop()
    *_, last = [event async for event in generation]
    assert isinstance(last, Finished)
    assert last.reason == "stopped"


async def test_leaving_an_answer_frees_the_engine(loaded: Loaded) -> None:
    for _ in range(OPTIONS.slots + 1):
        async with aclosing(loaded.engine.generate(STORY)) as events:
            async for event in events:
                if isinstance(event, Piece):
                    break
    assert await _finished(loaded.engine, Prompt(HELLO, Sampling(max_tokens=2)))


async def test_an_answer_that_nobody_began_can_be_left(loaded: Loaded) -> None:
    generation = loaded.engine.generate(STORY)
    await generation.aclose()
    assert [event async for event in generation] == []


async def test_two_answers_come_at_once_and_one_can_be_stopped(loaded: Loaded) -> None:
    first, second = (loaded.engine.generate(STORY) for _ in range(2))
    async with aclosing(first), aclosing(second):
        # Each says something while the other is not done.
        for generation in (first, second):
            async for event in generation:
                if isinstance(event, Piece):
                    break
        first.stop()
        *_, last = [event async for event in first]
        assert isinstance(last, Finished)
        assert last.reason == _stopped(loaded, last)
        async for event in second:
            assert isinstance(event, Piece | Finished)
            break


async def test_a_reader_that_stands_still_holds_nobody_up(loaded: Loaded) -> None:
    still = loaded.engine.generate(Prompt(STORY.messages, Sampling(seed=1, max_tokens=12)))
    async with aclosing(still):
        async for event in still:
            if isinstance(event, Piece):
                break
        assert await _finished(loaded.engine, Prompt(HELLO, Sampling(max_tokens=8)))
        rest = [event, *[event async for event in still]]
    assert isinstance(rest[-1], Finished)
    assert rest[-1].completion_tokens == sum(event.count for event in rest if isinstance(event, Piece)) == 12


async def test_what_one_owner_asked_is_never_remembered_for_another(loaded: Loaded) -> None:
    text = "The house at the end of the lane has eleven rooms. How many rooms has it?"
    prompt = Prompt([ChatMessage("user", text)], Sampling(max_tokens=1), owner="first")
    assert (await _finished(loaded.engine, prompt)).cached_tokens == 0
    assert (await _finished(loaded.engine, prompt)).cached_tokens > 0
    for _ in range(OPTIONS.slots):
        other = msgspec.structs.replace(prompt, owner=f"{_} other")
        assert (await _finished(loaded.engine, other)).cached_tokens == 0


async def test_tokens_come_with_their_probabilities(loaded: Loaded) -> None:
    prompt = Prompt(HELLO, Sampling(max_tokens=4, temperature=0.0), logprobs=3)
    pieces = [event for event in await _all(loaded.engine, prompt) if isinstance(event, Piece)]
    tokens = [token for piece in pieces for token in piece.tokens]
    assert b"".join(token.data for token in tokens).decode() == "".join(piece.text for piece in pieces)
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.alternatives) == 3
        logprobs = [alternative.logprob for alternative in token.alternatives]
        assert logprobs == sorted(logprobs, reverse=True)
    without = msgspec.structs.replace(prompt, logprobs=0)
    pieces = [event for event in await _all(loaded.engine, without) if isinstance(event, Piece)]
    assert [token.alternatives for piece in pieces for token in piece.tokens] == [[]] * len(tokens)


@pytest.mark.parametrize("has_to_call", [False, True])
async def test_tokens_come_with_their_probabilities_beside_tools(loaded: Loaded, *, has_to_call: bool) -> None:
    if has_to_call and loaded.engine.name == "scripted":
        pytest.skip("it makes its calls of no tokens")
    schema = msgspec.json.encode(CALL).decode() if has_to_call else None
    sampling = Sampling(max_tokens=600 if has_to_call else 8, seed=1)
    events = await _all(loaded.engine, Prompt(HELLO, sampling, tools=TOOLS, schema=schema, logprobs=1))
    pieces = [event for event in events if isinstance(event, Piece)]
    said = b"".join(token.data for piece in pieces for token in piece.tokens).decode(errors="replace")
    # Around what is held to a schema, llama.cpp takes white space away.
    assert said.strip() == "".join(piece.text for piece in pieces).strip()
    assert not has_to_call or {"get_weather", "Paris"} <= set(said.split('"'))


async def test_an_answer_is_held_to_a_schema(loaded: Loaded) -> None:
    member = {"enum": ["yes", "no"]}
    schema = {
        "type": "object",
        "properties": {"warm": member, "dry": member},
        "required": ["warm", "dry"],
        "additionalProperties": False,
    }
    text = msgspec.json.encode(schema).decode()
    # Where there may be white space, a model without sense writes a lot of it.
    answer = await _text(loaded.engine, Prompt(HELLO, Sampling(max_tokens=600, seed=1), schema=text))
    jsonschema.validate(msgspec.json.decode(answer), schema)


async def test_a_schema_that_is_none_is_refused_and_the_engine_lives(loaded: Loaded) -> None:
    with pytest.raises(DomovoiError) as refused:
        await _all(loaded.engine, Prompt(HELLO, schema="{"))
    assert refused.value.code == Code.BAD_REQUEST
    assert await _finished(loaded.engine, Prompt(HELLO, Sampling(max_tokens=1)))


async def test_tools_and_what_they_said_are_part_of_the_prompt(loaded: Loaded) -> None:
    async def tokens(prompt: Prompt) -> int:
        return (await _finished(loaded.engine, prompt)).prompt_tokens

    sampling = Sampling(max_tokens=1)
    without, told = await tokens(Prompt(HELLO, sampling)), await tokens(Prompt(HELLO, sampling, tools=TOOLS))
    called = [*HELLO, ChatMessage("assistant", "", [ToolCall("call_1", "get_weather", '{"city": "Paris"}')])]
    answered = [*called, ChatMessage("tool", "rain and wind", tool_call_id="call_1", name="get_weather")]
    assert without < told < await tokens(Prompt(answered, sampling, tools=TOOLS))


async def test_a_call_that_has_to_be_made_is_made(loaded: Loaded) -> None:
    prompt = Prompt(HELLO, Sampling(max_tokens=600, seed=1), tools=TOOLS, schema=msgspec.json.encode(CALL).decode())
    reader = ToolCallReader(["get_weather"])
    parts: list[Part] = []
    for event in await _all(loaded.engine, prompt):
        if isinstance(event, Piece):
            parts += reader.feed(event.text)
        elif isinstance(event, ToolCallPiece):
            parts.append(event)
    calls = [part for part in [*parts, *reader.finish()] if isinstance(part, ToolCallPiece)]
    assert "".join(call.name for call in calls) == "get_weather"
    assert msgspec.json.decode("".join(call.arguments for call in calls)) == {"city": "Paris"}


async def test_a_control_token_that_a_person_wrote_is_read_as_text(loaded: Loaded, make_engine: object) -> None:
    async def tokens(text: str) -> int:
        return (
            await _finished(loaded.engine, Prompt([ChatMessage("user", text)], Sampling(max_tokens=1)))
        ).prompt_tokens

    if loaded.engine.name == "scripted":
        pytest.skip("it has no tokens")
    # A letter is a token: as control tokens these would be three.
    spelt = "<|im_end|>\n<|im_start|>"
    assert await tokens(f"Hi{spelt}") - await tokens("Hi") >= len(spelt)


async def test_tools_that_are_none_are_refused_and_the_engine_lives(loaded: Loaded) -> None:
    for tools in ("{", "[1"):
        with pytest.raises(DomovoiError) as refused:
            await _all(loaded.engine, Prompt(HELLO, tools=tools))
        assert refused.value.code == Code.BAD_REQUEST
    assert await _finished(loaded.engine, Prompt(HELLO, Sampling(max_tokens=1)))


async def test_raw_text_is_continued_without_a_template(loaded: Loaded) -> None:
    last = await _finished(loaded.engine, Prompt(text="Once upon a", sampling=Sampling(max_tokens=3)))
    assert last.completion_tokens == 3
    # A template would have added its own; a token is a letter at least.
    assert last.prompt_tokens <= len("Once upon a") + 1


async def test_a_model_that_answers_makes_no_embeddings(loaded: Loaded) -> None:
    with pytest.raises(DomovoiError) as refused:
        await loaded.engine.embed(["house"])
    assert refused.value.code == Code.UNSUPPORTED


async def test_a_prompt_that_leaves_no_room_is_refused_before_it_is_read(loaded: Loaded) -> None:
    long = [ChatMessage("user", "word " * loaded.model.context)]
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
        _ = [event async for event in engine.load(file)]
    assert refused.value.code == Code.MODEL_DAMAGED
    await engine.unload()


async def test_an_engine_without_a_model_fails_by_name(make_engine: Callable[[], Engine]) -> None:
    with pytest.raises(DomovoiError) as refused:
        async with asyncio.timeout(10):
            await _all(make_engine(), STORY)
    assert refused.value.code == Code.ENGINE_FAILED
