"""OpenAI's own client against the real engine and model, once through everything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from inference_node.api_keys import ApiKeys
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


async def test_a_program_asks_the_real_model(tmp_path: Path, default_test_model: Path) -> None:
    node = RunningNode(tmp_path / "data")
    node.add_model(default_test_model)
    secret = ApiKeys(node.settings.folder / "api-keys").create("test")
    # The first request waits until the model is loaded.
    await node.start(wait_for_engine=False)
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    try:
        async with openai.AsyncOpenAI(
            base_url=f"{node.url}/v1", api_key=secret, max_retries=0, timeout=WITHIN_S, http_client=http
        ) as client:
            await _ask(client)
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
    word = first.split()[1]
    cut = (await chat(**options, stop=[word])).choices[0]
    assert (cut.message.content, cut.finish_reason) == (first[: first.index(word)], "stop")

    # An answer that is held to a schema, and a call that has to be made.
    form = {"type": "json_schema", "json_schema": {"name": "dog", "schema": DOG}}
    dog = await chat(**{**options, "max_tokens": 60}, response_format=form)
    assert json.loads(dog.choices[0].message.content).keys() == {"size"}
    called = await chat(**{**options, "max_tokens": 60}, tools=[WEATHER], tool_choice="required")
    (call,) = called.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments).keys() == {"city"}
    told = [
        *QUESTION,
        {"role": "assistant", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    assert (await chat(**{**options, "messages": told, "max_tokens": 2}, tools=[WEATHER])).choices[0].message.content

    # Raw text, in the older shape.
    text = (await client.completions.create(model=model, prompt="Once upon a", max_tokens=2, logprobs=1)).choices[0]
    assert text.logprobs is not None
    assert "".join(text.logprobs.tokens or ()) == text.text

    # What the model can't do has a name, and it goes on answering.
    with pytest.raises(openai.UnprocessableEntityError):
        await client.embeddings.create(model=model, input="house")
    with pytest.raises(openai.BadRequestError) as refused:
        await chat(**{**options, "messages": [{"role": "user", "content": "word " * 9000}]})
    assert refused.value.code == "context_length_exceeded"
    assert (await chat(**{**options, "max_tokens": 1})).usage.completion_tokens == 1
