"""OpenAI's own client against each real engine, once through everything: the same from every one of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from inference_node.accelerator import accelerated
from inference_node.endpoints.api_keys import ApiKeys
from tests.inference_node.running_node import RunningNode

if TYPE_CHECKING:
    from pathlib import Path

# Loading and answering on a machine that does something else too, seconds.
WITHIN_S = 240
QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
DOG: Any = {
    "type": "object",
    "properties": {"size": {"enum": ["big", "small"]}},
    "required": ["size"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("engine", ["native", "llama_cpp"] if accelerated else ["llama_cpp"])
async def test_a_program_asks_a_real_engine(tmp_path: Path, tiny_model: Path, engine: str) -> None:
    node = RunningNode(tmp_path / "data", engine=engine)
    node.add_model(tiny_model)
    secret = ApiKeys(node.settings.folder / "api-keys").create("test")
    # The first request waits until the model is loaded.
    await node.grant(node.account)
    await node.start(wait_for_engine=False)
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    try:
        async with openai.AsyncOpenAI(
            base_url=f"{node.url}/v1", api_key=secret, max_retries=0, timeout=WITHIN_S, http_client=http
        ) as client:
            await _ask(client)
        # Nothing of it was more than the engine could do.
        assert [model.engine for model in (await node.status()).loaded] == [engine]
        assert (await node.status()).steps == []
    finally:
        await node.stop()


async def _ask(client: openai.AsyncOpenAI) -> None:
    (model,) = [model.id async for model in client.models.list()]
    chat: Any = client.chat.completions.create

    # The same seed and choice say the same, streamed or whole, and so do their tokens.
    options: Any = {"model": model, "messages": QUESTION, "max_tokens": 6, "seed": 7, "temperature": 1.0}
    whole = await chat(**options, n=2, logprobs=True, top_logprobs=2)
    first, second = (choice.message.content for choice in whole.choices)
    assert first != second
    assert whole.usage.completion_tokens <= 12
    for choice in whole.choices:
        tokens = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
        assert tokens.decode() == choice.message.content
    stream = [chunk async for chunk in await chat(**options, stream=True, stream_options={"include_usage": True})]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == first
    assert stream[-1].usage.prompt_tokens == whole.usage.prompt_tokens

    # A stop string is not part of the answer.
    word = first[2:4]
    cut = (await chat(**options, stop=[word])).choices[0]
    assert (cut.message.content, cut.finish_reason) == (first[: first.index(word)], "stop")

    # An answer that is held to a schema, and a call that has to be made.
    form = {"type": "json_schema", "json_schema": {"name": "dog", "schema": DOG}}
    long: Any = {**options, "max_tokens": 600}
    dog = await chat(**long, response_format=form)
    assert json.loads(dog.choices[0].message.content).keys() == {"size"}
    thing = await chat(**long, response_format={"type": "json_object"}, stop=["}"])
    assert thing.choices[0].message.content.lstrip().startswith("{")
    await _ask_with_tools(chat, options, long)

    # Raw text, in the older shape.
    text = (await client.completions.create(model=model, prompt="Once upon a", max_tokens=2, logprobs=1)).choices[0]
    assert text.logprobs is not None
    assert "".join(text.logprobs.tokens or ()) == text.text

    # What the model can't do has a name, and it goes on answering.
    with pytest.raises(openai.UnprocessableEntityError):
        await client.embeddings.create(model=model, input="house")
    with pytest.raises(openai.BadRequestError) as refused:
        await chat(**{**options, "messages": [{"role": "user", "content": "word " * 2000}]})
    assert refused.value.code == "context_length_exceeded"
    assert (await chat(**{**options, "max_tokens": 1})).usage.completion_tokens == 1


async def _ask_with_tools(chat: Any, options: Any, long: Any) -> None:
    called = (await chat(**long, tools=[WEATHER], tool_choice="required")).choices[0]
    (call,) = called.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments).keys() == {"city"}
    assert (called.message.content, called.finish_reason) == (None, "tool_calls")
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    deltas = [
        delta
        async for chunk in await chat(**long, tools=[WEATHER], tool_choice=named, stream=True)
        for delta in chunk.choices[0].delta.tool_calls or ()
    ]
    assert [delta.function.name for delta in deltas if delta.function.name] == ["get_weather"]
    assert len([delta.id for delta in deltas if delta.id]) == 1
    assert json.loads("".join(delta.function.arguments or "" for delta in deltas)).keys() == {"city"}
    # Free to call or not, a model without sense says something else.
    free = (await chat(**options, tools=[WEATHER])).choices[0]
    assert free.message.content
    assert free.finish_reason == "length"
    # Tools, tokens and a stream at once.
    seen: Any = {**options, "tools": [WEATHER], "logprobs": True, "top_logprobs": 2}
    chunks = [chunk.choices[0] async for chunk in await chat(**seen, stream=True)]
    tokens = [token for chunk in chunks if chunk.logprobs for token in chunk.logprobs.content]
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == free.message.content
    assert "".join(chunk.delta.content or "" for chunk in chunks) == free.message.content
    assert tokens == (await chat(**seen)).choices[0].logprobs.content
    told = [
        *QUESTION,
        {"role": "assistant", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    assert (await chat(**{**options, "messages": told, "max_tokens": 2}, tools=[WEATHER])).choices[0].message.content
