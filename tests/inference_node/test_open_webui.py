"""The requests of Open WebUI, in the shapes in which its server sends them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from tests.inference_node.running_node import RunningNode

QUESTION = {
    "role": "user",
    "content": [{"type": "text", "text": "What time is it?", "cache_control": {"type": "ephemeral"}}],
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_current_time",
        "description": "Get the current time.",
        "parameters": {"type": "object", "properties": {}, "required": []},
    },
}


@pytest.fixture
def script() -> Script:
    """An engine that does everything that it can be asked for."""
    script = Script()
    script.can_embed = True
    return script


@pytest.fixture
def headers(secret: str) -> dict[str, str]:
    """What its server sends, with the people's names forwarded."""
    return {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {secret}",
        "X-OpenWebUI-User-Name": "Anna%20K",
        "X-OpenWebUI-User-Id": "4cf4",
        "X-OpenWebUI-User-Email": "anna@example.org",
        "X-OpenWebUI-User-Role": "admin",
        "X-OpenWebUI-Chat-Id": "b1b2",
    }


async def streamed(node: RunningNode, headers: dict[str, str], **more: Any) -> list[Any]:
    """Ask as a chat does, and read the lines as its middleware does."""
    body = {
        "stream": True,
        "model": "Test-Model",
        "messages": [{"role": "system", "content": "Be kind."}, QUESTION],
        "temperature": 0.8,
        "top_p": 0.9,
        "max_tokens": 128,
        "frequency_penalty": 0.5,
        "seed": 42,
        "stop": ["</s>"],
        "logit_bias": {},
        "reasoning": {"effort": "low"},
        "user": {"name": "Anna", "id": "4cf4", "email": "anna@example.org", "role": "admin"},
        "stream_options": {"include_usage": True},
        "chat_id": "b1b2",
        "session_id": "s1",
        "id": "m1",
        **more,
    }
    url = f"{node.url}/v1/chat/completions"
    async with node.http.stream("POST", url, content=json.dumps(body), headers=headers) as response:
        assert response.status_code == 200
        assert "text/event-stream" in response.headers["content-type"]
        lines = [line async for line in response.aiter_lines() if line.startswith("data:")]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data:")) for line in lines[:-1]]


async def test_a_connection_is_verified_and_lists_the_models(node: RunningNode, headers: dict[str, str]) -> None:
    response = await node.http.get(f"{node.url}/v1/models", headers=headers)
    assert response.status_code == 200
    assert [model["id"] for model in response.json()["data"]] == ["Test-Model"]


async def test_a_chat_is_answered(node: RunningNode, headers: dict[str, str], script: Script) -> None:
    *chunks, last = await streamed(node, headers)
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == script.answer
    assert last["usage"]["total_tokens"] > 0
    # A response that is continued ends with what there is of it.
    await streamed(node, headers, messages=[QUESTION, {"role": "assistant", "content": "It is"}])
    assert script.prompts[-1].messages[-1].content == "It is"


async def test_titles_and_tags_are_made(node: RunningNode, headers: dict[str, str], script: Script) -> None:
    body = {
        "model": "Test-Model",
        "messages": [{"role": "user", "content": "### Task: a title"}],
        "stream": False,
        "max_completion_tokens": 1000,
    }
    response = await node.http.post(f"{node.url}/v1/chat/completions", content=json.dumps(body), headers=headers)
    assert response.json()["choices"][0]["message"]["content"] == script.answer


async def test_tools_are_called_and_their_results_read(
    node: RunningNode, headers: dict[str, str], script: Script
) -> None:
    script.answer = '<tool_call>{"name": "get_current_time", "arguments": {}}</tool_call>'
    chunks = await streamed(node, headers, tools=[TOOL])
    deltas = [call for chunk in chunks for one in chunk["choices"] for call in one["delta"].get("tool_calls", ())]
    assert deltas[0]["function"]["name"] == "get_current_time"
    call = {
        "id": deltas[0]["id"],
        "type": "function",
        "index": deltas[0]["index"],
        "function": {"name": "get_current_time", "arguments": deltas[-1]["function"]["arguments"]},
    }
    script.answer = "Noon."
    told = [
        QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "12:00"},
    ]
    chunks = await streamed(node, headers, tools=[TOOL], messages=told)
    assert chunks[1]["choices"][0]["delta"]["content"] == "Noon."
    assert script.prompts[-1].messages[-1].tool_call_id == call["id"]


async def test_documents_are_embedded(node: RunningNode, headers: dict[str, str], script: Script) -> None:
    body = {"input": ["a house", "a lane"], "model": "Test-Model"}
    response = await node.http.post(f"{node.url}/v1/embeddings", content=json.dumps(body), headers=headers)
    assert [row["embedding"] for row in response.json()["data"]] == [[7.0, 1 / 3], [6.0, 1 / 3]]
