"""The OpenAI-compatible API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from inference_node.api_keys import ApiKeys
from shared.wire import PathMessage
from tests.inference_node.running_node import eventually

if TYPE_CHECKING:
    import httpx

    from tests.inference_node.conftest import Kept
    from tests.inference_node.running_node import RunningNode
    from tests.inference_node.scripted_engine import ScriptedEngine

HELLO = [{"role": "user", "content": "Hello"}]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def node(kept: Kept) -> RunningNode:
    return kept.node


@pytest_asyncio.fixture(loop_scope="module")
async def engine(kept: Kept) -> ScriptedEngine:
    kept.engine.prompts.clear()
    kept.engine.has_paused.clear()
    return kept.engine


def key_for(node: RunningNode) -> dict[str, str]:
    return {"authorization": f"Bearer {ApiKeys(node.data).create('editor')}"}


async def chat(node: RunningNode, **body: Any) -> httpx.Response:
    made = {"model": "Tiny", "messages": HELLO, **body}
    return await node.http.post("/v1/chat/completions", json=made, headers=key_for(node))


async def test_models_are_listed(node: RunningNode) -> None:
    listed = (await node.http.get("/v1/models", headers=key_for(node))).json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["Tiny"]


async def test_a_whole_answer(node: RunningNode) -> None:
    answer = (await chat(node)).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "Tiny"
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Hello 🐈!"}, "finish_reason": "stop"}
    ]
    assert answer["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}


async def test_a_streamed_answer(node: RunningNode) -> None:
    response = await chat(node, stream=True, stream_options={"include_usage": True}, model="default")
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    choices = [chunk["choices"][0] for chunk in chunks[:-1]]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Hello 🐈!"
    assert choices[-1]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] == 3


async def test_parameters_reach_the_engine(node: RunningNode, engine: ScriptedEngine) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    body = {"messages": messages, "stop": "x", "temperature": 0.3, "top_p": 0.5, "seed": -1, "logit_bias": {}}
    answer = (await chat(node, **body, max_completion_tokens=1, user="me")).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    prompt = engine.prompts[0]
    assert prompt.messages == [PathMessage("system", "Be brief."), PathMessage("user", "ab")]
    assert prompt.stop == ["x"]
    sampling = prompt.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed, sampling.max_tokens) == (0.3, 0.5, 2**32 - 1, 1)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "gpt-99"}, 404, "model_missing"),
        ({"messages": []}, 400, "bad_request"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "bad_request"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "bad_request"),
        ({"messages": "x"}, 400, "bad_request"),
        ({"n": 2}, 400, "bad_request"),
        ({"temperature": -1}, 400, "bad_request"),
        ({"temperature": "hot"}, 400, "bad_request"),
        ({"top_p": 7}, 400, "bad_request"),
        ({"max_tokens": 0, "max_completion_tokens": -5}, 400, "bad_request"),
        ({"stop": [""]}, 400, "bad_request"),
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, 422, "context_too_long"),
    ],
)
async def test_refusals_have_openais_shape(node: RunningNode, body: dict[str, Any], status: int, code: str) -> None:
    for stream in (False, True):
        response = await chat(node, **body, stream=stream)
        assert response.status_code == status
        error = response.json()["error"]
        assert error["code"] == code
        assert error["type"] == "invalid_request_error"
        assert error["message"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}, {"authorization": "Basic x"}])
async def test_a_key_is_required(node: RunningNode, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions")):
        response = await node.http.request(method, path, headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "invalid_request_error"


async def test_an_accounts_token_is_no_key(node: RunningNode) -> None:
    assert (await node.http.get("/v1/models", headers=node.bearer())).status_code == 401


async def test_a_reader_who_leaves_frees_the_engine(node: RunningNode, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    body = {"model": "Tiny", "messages": HELLO, "stream": True}
    async with node.http.stream("POST", "/v1/chat/completions", json=body, headers=key_for(node)) as response:
        assert response.status_code == 200
        await engine.has_paused.wait()
    await eventually(lambda: len(node.node._turns) == 0)
    engine.has_paused.clear()
    whole = asyncio.create_task(chat(node))
    await engine.has_paused.wait()
    whole.cancel()
    await eventually(lambda: len(node.node._turns) == 0)
    engine.gate.set()
    assert (await chat(node)).json()["choices"][0]["message"]["content"] == "Hello 🐈!"


async def test_programs_wait_for_their_turn(node: RunningNode, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    wanted = node.wanted()
    await node.start(wanted)
    await engine.has_paused.wait()
    waiting = asyncio.create_task(chat(node))
    await eventually(lambda: len(node.node._turns) == 2)
    engine.gate.set()
    assert (await waiting).status_code == 200
    assert (await node.ended(wanted.answer)).state.state == "done"
