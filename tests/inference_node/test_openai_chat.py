"""/v1/chat/completions, as OpenAI's own client sees it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from inference_node.engines.engine import ToolCall, ToolCallPiece

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from tests.inference_node.scripted_engine import Script

USER: Any = [{"role": "user", "content": "Hello?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"$ref": "#/$defs/City"}}, "$defs": {"City": {}}},
    },
}
TIME: Any = {"type": "function", "function": {"name": "get_time"}}
WORDS: Any = {"type": "object", "properties": {"warm": {"enum": ["yes", "no"]}}}
CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'


async def chat(client: AsyncOpenAI, **more: Any) -> Any:
    return await client.chat.completions.create(**{"model": "Test-Model", "messages": USER, **more})


async def chunks(client: AsyncOpenAI, **more: Any) -> list[Any]:
    return [chunk async for chunk in await chat(client, stream=True, **more)]


def text_of(stream: list[Any], index: int = 0) -> str:
    choices = [choice for chunk in stream for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


async def test_a_whole_answer(client: AsyncOpenAI, script: Script) -> None:
    answer = await chat(client)
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.content, choice.message.tool_calls) == (
        "assistant",
        script.answer,
        None,
    )
    assert answer.model == "Test-Model"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    again = await chat(client)
    assert again.usage.prompt_tokens_details.cached_tokens > 0
    assert again.id != answer.id


async def test_a_streamed_answer(client: AsyncOpenAI, script: Script) -> None:
    first, *middle, last = await chunks(client)
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert text_of(middle) == script.answer
    assert last.choices[0].finish_reason == "stop"
    assert {(chunk.id, chunk.created, chunk.model) for chunk in middle} == {(first.id, first.created, "Test-Model")}
    assert first.usage is None


async def test_a_stream_ends_with_the_counts_where_they_are_asked_for(client: AsyncOpenAI) -> None:
    *rest, last = await chunks(client, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.completion_tokens == 2
    assert all(chunk.choices and chunk.usage is None for chunk in rest)


async def test_options_reach_the_engine(client: AsyncOpenAI, script: Script) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Two "}, {"type": "text", "text": "parts"}], "name": "A"},
    ]
    options = {"temperature": 0.1, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": -1, "seed": 3}
    ours = {"top_k": 7, "min_p": 0.2, "repeat_penalty": 1.5}
    ignored = {"unknown": {"x": 1}, "user": "anna", "metadata": {"a": "b"}, "logit_bias": {}}
    answer = await chat(
        client,
        messages=messages,
        stop="END",
        max_tokens=9,
        max_completion_tokens=1,
        extra_body=ours | ignored,
        **options,
    )
    assert answer.choices[0].finish_reason == "length"
    (prompt,) = script.prompts
    assert [(m.role, m.content, m.name) for m in prompt.messages] == [
        ("system", "Be brief.", None),
        ("user", "Two parts", "A"),
    ]
    assert prompt.stop == ["END"]
    for name, value in (options | ours | {"max_tokens": 1}).items():
        assert getattr(prompt.sampling, name) == value


async def test_stop_strings_end_the_answer(client: AsyncOpenAI, script: Script) -> None:
    script.answer = "one two three"
    answer = await chat(client, stop=["two ", ""])
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("one ", "stop")


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**63 - 1])
async def test_any_seed_is_taken_and_the_same_each_time(client: AsyncOpenAI, script: Script, seed: int) -> None:
    await chat(client, seed=seed)
    await chat(client, seed=seed)
    first, second = (prompt.sampling.seed for prompt in script.prompts)
    assert first == second
    assert first is not None
    assert 0 <= first < 2**32 - 1


# Logprobs.


async def test_tokens_come_with_their_probabilities(client: AsyncOpenAI, script: Script) -> None:
    script.answer = "Grüße, ja."
    whole = (await chat(client, logprobs=True, top_logprobs=2)).choices[0].logprobs.content
    assert "".join(token.token for token in whole) == script.answer
    assert b"".join(bytes(token.bytes) for token in whole).decode() == script.answer
    assert [len(token.top_logprobs) for token in whole] == [2, 2]
    assert whole[0].logprob == whole[0].top_logprobs[0].logprob == -0.5
    stream = await chunks(client, logprobs=True)
    streamed = [choice.logprobs for chunk in stream for choice in chunk.choices if choice.logprobs is not None]
    tokens = [token for logprobs in streamed for token in logprobs.content]
    assert [(token.token, token.top_logprobs) for token in tokens] == [(token.token, []) for token in whole]


# Several choices.


async def test_several_choices_are_several_answers(client: AsyncOpenAI, script: Script) -> None:
    answer = await chat(client, n=3, seed=5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {script.answer}
    assert {prompt.sampling.seed for prompt in script.prompts} == {5, 6, 7}
    one = await chat(client)
    # The prompt is counted once.
    assert answer.usage.prompt_tokens == one.usage.prompt_tokens
    assert answer.usage.completion_tokens == 3 * one.usage.completion_tokens


async def test_choices_are_streamed_as_they_come(client: AsyncOpenAI, script: Script) -> None:
    script.slots = 2
    # The node learns of the slots when it loads the model anew.
    script.held = True
    script.crash()
    script.finish()
    await chat(client)
    stream = aiter(await chat(client, n=2, stream=True))
    heads = [await anext(stream) for _ in range(2)]
    assert {chunk.choices[0].index for chunk in heads} == {0, 1}
    first, second = script.running
    said = []
    for generation, word in ((second, "a"), (first, "b"), (second, "c")):
        generation.say(word)
        said.append((await anext(stream)).choices[0])
    by_second, by_first, again = said
    assert [choice.delta.content for choice in said] == ["a", "b", "c"]
    assert by_second.index == again.index != by_first.index
    first.finish()
    second.finish()
    rest = [chunk.choices[0] async for chunk in stream]
    assert sorted(choice.index for choice in rest if choice.finish_reason == "stop") == [0, 1]


# Tools.


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_in_the_text_is_a_call(client: AsyncOpenAI, script: Script, *, stream: bool) -> None:
    script.answer = f"Let me see.\n<tool_call>\n{CALL}\n</tool_call>"
    if stream:
        got = await chunks(client, tools=[WEATHER])
        deltas = [call for chunk in got for call in chunk.choices[0].delta.tool_calls or ()]
        assert [(call.index, call.type, call.function.name) for call in deltas[:1]] == [(0, "function", "get_weather")]
        assert deltas[0].id
        assert not any(call.id or call.function.name for call in deltas[1:])
        arguments = "".join(call.function.arguments or "" for call in deltas)
        text, finish = text_of(got), got[-1].choices[0].finish_reason
    else:
        (choice,) = (await chat(client, tools=[WEATHER])).choices
        (call,) = choice.message.tool_calls
        assert (call.type, call.function.name) == ("function", "get_weather")
        assert call.id
        arguments, text, finish = call.function.arguments, choice.message.content, choice.finish_reason
    assert (json.loads(arguments), text, finish) == ({"city": "Paris"}, "Let me see.\n", "tool_calls")


async def test_without_tools_the_same_text_is_text(client: AsyncOpenAI, script: Script) -> None:
    script.answer = f"<tool_call>{CALL}</tool_call>"
    for more in ({}, {"tools": [WEATHER], "tool_choice": "none"}):
        (choice,) = (await chat(client, **more)).choices
        assert (choice.message.content, choice.message.tool_calls) == (script.answer, None)
        assert choice.finish_reason == "stop"
    assert [prompt.tools for prompt in script.prompts] == [None, None]


async def test_calls_that_the_engine_finds_are_passed_on(client: AsyncOpenAI, script: Script) -> None:
    script.held = True
    asking = asyncio.create_task(chat(client, tools=[WEATHER, TIME]))
    script.say(ToolCallPiece(0, "a1", "get_weather"), ToolCallPiece(0, arguments='{"city":'))
    script.say(ToolCallPiece(0, arguments='"Rome"}'), ToolCallPiece(1, "", "get_time", "{}"))
    script.finish()
    (choice,) = (await asking).choices
    assert choice.message.content is None
    first, second = choice.message.tool_calls
    assert (first.id, first.function.name, first.function.arguments) == ("a1", "get_weather", '{"city":"Rome"}')
    assert (second.function.name, second.function.arguments) == ("get_time", "{}")
    assert second.id
    assert choice.finish_reason == "tool_calls"


async def test_tools_and_their_results_reach_the_engine(client: AsyncOpenAI, script: Script) -> None:
    messages = [
        *USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "noon"}]},
    ]
    await chat(client, messages=messages, tools=[WEATHER, TIME])
    (prompt,) = script.prompts
    _, assistant, tool = prompt.messages
    assert (assistant.content, assistant.tool_calls) == ("", [ToolCall("c1", "get_time", "{}")])
    assert (tool.role, tool.content, tool.tool_call_id) == ("tool", "noon", "c1")
    assert json.loads(prompt.tools or "") == [WEATHER, TIME]
    assert prompt.schema is None


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_a_call_that_is_asked_for_is_made(client: AsyncOpenAI, script: Script, choice: Any) -> None:
    (made,) = (await chat(client, tools=[TIME, WEATHER], tool_choice=choice)).choices
    assert made.finish_reason == "tool_calls"
    assert [call.function.name for call in made.message.tool_calls] == ["get_weather"]
    (prompt,) = script.prompts
    schema = json.loads(prompt.schema or "")
    # What the parameters refer to is where they look for it.
    assert schema["$defs"] == {"City": {}}
    assert ("anyOf" in schema) == (choice == "required")


# What the answer is held to.


async def test_an_answer_is_held_to_a_schema(client: AsyncOpenAI, script: Script) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "words", "strict": True, "schema": WORDS}}
    answer = await chat(client, response_format=form)
    assert json.loads(answer.choices[0].message.content) == {"warm": "yes"}
    assert json.loads(script.prompts[0].schema or "") == WORDS


async def test_json_is_any_object_and_text_is_free(client: AsyncOpenAI, script: Script) -> None:
    assert json.loads((await chat(client, response_format={"type": "json_object"})).choices[0].message.content) == {}
    await chat(client, response_format={"type": "text"})
    assert [prompt.schema for prompt in script.prompts] == ['{"type":"object"}', None]


async def test_an_answer_held_to_a_schema_may_be_a_call(client: AsyncOpenAI, script: Script) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "words", "schema": WORDS}}
    (choice,) = (await chat(client, response_format=form, tools=[WEATHER])).choices
    assert choice.message.tool_calls[0].function.name == "get_weather"
    asked, call = json.loads(script.prompts[0].schema or "")["anyOf"]
    assert asked == WORDS
    assert call["properties"]["name"] == {"const": "get_weather"}


# Errors.

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
OTHER_CITY = {"type": "function", "function": {"name": "b", "parameters": {"$defs": {"City": {"type": "null"}}}}}
REFUSED: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], str]] = {
    "an unknown model": ({"model": "gpt-4"}, openai.NotFoundError, "model_not_found"),
    "no messages": ({"messages": []}, openai.BadRequestError, "bad_request"),
    "a role of old": ({"messages": [{"role": "function", "content": ""}]}, openai.BadRequestError, "bad_request"),
    "an image": ({"messages": [{"role": "user", "content": [IMAGE]}]}, openai.UnprocessableEntityError, "unsupported"),
    "a temperature": ({"temperature": -1}, openai.BadRequestError, "bad_request"),
    "no choices": ({"n": 0}, openai.BadRequestError, "bad_request"),
    "too many choices": ({"n": 17}, openai.BadRequestError, "bad_request"),
    "alternatives alone": ({"top_logprobs": 2}, openai.BadRequestError, "bad_request"),
    "a bias": ({"logit_bias": {"50256": -100}}, openai.UnprocessableEntityError, "unsupported"),
    "a tool of another kind": ({"tools": [{"type": "web_search"}]}, openai.BadRequestError, "bad_request"),
    "a call without tools": ({"tool_choice": "required"}, openai.BadRequestError, "bad_request"),
    "a call of another": (
        {"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "x"}}},
        openai.BadRequestError,
        "bad_request",
    ),
    "two meanings": (
        {"tools": [WEATHER, OTHER_CITY], "tool_choice": "required"},
        openai.BadRequestError,
        "bad_request",
    ),
    "no schema": ({"response_format": {"type": "json_schema"}}, openai.BadRequestError, "bad_request"),
    "a long prompt": (
        {"messages": [{"role": "user", "content": "word " * 500}]},
        openai.BadRequestError,
        "context_length_exceeded",
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_says_why(client: AsyncOpenAI, script: Script, name: str, *, stream: bool) -> None:
    more, kind, code = REFUSED[name]
    with pytest.raises(kind) as refused:
        await chat(client, stream=stream, **more)
    assert refused.value.code == code
    assert refused.value.type == "invalid_request_error"
    assert script.prompts == []
    assert script.busy == 0


async def test_a_long_conversation_is_not_cut_in_silence(client: AsyncOpenAI) -> None:
    messages = [{"role": role, "content": "word " * 20} for role in ("user", "assistant") * 5]
    with pytest.raises(openai.BadRequestError, match="210 tokens of 100"):
        await chat(client, messages=messages)


async def test_an_engine_that_fails_before_the_first_word_is_replaced(client: AsyncOpenAI, script: Script) -> None:
    script.held = True
    asking = asyncio.create_task(chat(client))
    await script.generating.wait()
    script.crash()
    script.say("Yes.")
    script.finish()
    assert (await asking).choices[0].message.content == "Yes."
    assert len(script.loads) == 2


async def test_an_engine_that_fails_in_the_middle_says_so(client: AsyncOpenAI, script: Script) -> None:
    script.held = True
    stream = aiter(await chat(client, stream=True))
    await anext(stream)
    script.say("One ")
    assert (await anext(stream)).choices[0].delta.content == "One "
    script.crash()
    with pytest.raises(openai.APIError) as failed:
        await anext(stream)
    assert failed.value.code == "engine_failed"
    script.held = False
    assert (await chat(client)).choices[0].message.content == script.answer
