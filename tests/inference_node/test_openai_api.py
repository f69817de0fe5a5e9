"""The API for other programs, as an OpenAI client sees it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from inference_node.api_keys import ApiKeys

if TYPE_CHECKING:
    import httpx

    from tests.inference_node.running_node import RunningNode
    from tests.inference_node.scripted_engine import Script

CHAT = {"model": "default", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture
def key(node: RunningNode) -> dict[str, str]:
    """Headers with a key made on the PC."""
    return {"Authorization": f"Bearer {ApiKeys(node.settings.folder / 'api-keys').create('editor')}"}


async def chat(node: RunningNode, key: dict[str, str], **more: Any) -> httpx.Response:
    return await node.http.post(f"{node.url}/v1/chat/completions", json={**CHAT, **more}, headers=key)


def chunks_of(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_a_whole_answer(node: RunningNode, key: dict[str, str], script: Script) -> None:
    response = await chat(node, key)
    assert response.status_code == 200
    answer = response.json()
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    assert choice == {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": script.answer}}
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


async def test_a_streamed_answer(node: RunningNode, key: dict[str, str], script: Script) -> None:
    response = await chat(node, key, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    first, *middle, last, usage = chunks_of(response)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle) == script.answer
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 2


async def test_options_reach_the_engine(node: RunningNode, key: dict[str, str], script: Script) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Two "}, {"type": "text", "text": "parts"}]},
    ]
    options = {"temperature": 0.1, "top_p": 0.5, "max_tokens": 1, "seed": 3, "stop": "END", "unknown": {"x": 1}}
    answer = (await chat(node, key, messages=messages, **options)).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    (prompt,) = script.prompts
    assert [(m.role, m.content) for m in prompt.messages] == [("system", "Be brief."), ("user", "Two parts")]
    assert prompt.stop == ["END"]
    sampling = prompt.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.seed) == (0.1, 0.5, 1, 3)


async def test_the_models_can_be_asked_for(node: RunningNode, key: dict[str, str]) -> None:
    models = (await node.http.get(f"{node.url}/v1/models", headers=key)).json()
    assert [model["id"] for model in models["data"]] == ["Test-Model"]
    assert (await chat(node, key, model="Test-Model")).json()["model"] == "Test-Model"


async def test_keys_are_asked_for(node: RunningNode, key: dict[str, str]) -> None:
    cases = [
        ({}, "token_missing"),
        ({"Authorization": "Bearer wrong"}, "token_invalid"),
        (node.bearer, "token_invalid"),
    ]
    for headers, code in cases:
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions")):
            response = await node.http.request(method, f"{node.url}{path}", headers=headers)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == code
    assert ApiKeys(node.settings.folder / "api-keys").revoke("editor")
    assert (await chat(node, key)).status_code == 401


async def test_errors_have_the_shape_that_clients_read(node: RunningNode, key: dict[str, str]) -> None:
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"model": "gpt-4"}, 404, "model_missing"),
        ({"messages": []}, 400, "bad_request"),
        ({"temperature": -1}, 400, "bad_request"),
        ({"top_p": 0}, 400, "bad_request"),
        ({"messages": [{"role": "user", "content": "word " * 500}]}, 422, "context_too_long"),
        ({"messages": [{"role": "user", "content": "word " * 500}], "stream": True}, 422, "context_too_long"),
    ]
    for more, status, code in cases:
        response = await chat(node, key, **more)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert response.json()["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_hanging_up_frees_the_engine(
    node: RunningNode, key: dict[str, str], script: Script, *, stream: bool
) -> None:
    script.held = True
    asking = asyncio.create_task(chat(node, key, stream=stream))
    script.say("One ")
    await script.generating.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    async def is_free() -> bool:
        return not script.busy

    await node.until(is_free)
    script.held = False
    answer = await node.ask()
    assert (await node.whole(answer))[-1].event.state.state == "done"  # type: ignore[union-attr]


async def test_an_engine_that_fails_in_the_middle_says_so(
    node: RunningNode, key: dict[str, str], script: Script
) -> None:
    script.held = True
    asking = asyncio.create_task(chat(node, key, stream=True))
    script.say("One ")
    script.crash()
    text = (await asking).text
    assert '"code":"engine_failed"' in text
    assert "[DONE]" not in text
    script.held = False
    assert (await chat(node, key)).status_code == 200


async def test_programs_and_people_take_turns(node: RunningNode, key: dict[str, str], script: Script) -> None:
    everything = [chat(node, key) for _ in range(4)] + [node.post(node.request()) for _ in range(4)]
    assert {response.status_code for response in await asyncio.gather(*everything)} == {200}
    assert script.most_busy == 1
