"""The API for other programs: who gets in, whose turn it is, and how programs leave."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.endpoints.api_keys import ApiKeys
from inference_node.openai import api as openai_api
from inference_node.openai import errors as openai_errors
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI

    from tests.inference_node.running_node import RunningNode
    from tests.inference_node.scripted_engine import Script

CHAT: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "Hello?"}]}
ENDPOINTS = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/Test-Model"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
]


@pytest.fixture
def key(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def chat(node: RunningNode, key: dict[str, str], **more: Any) -> httpx.Response:
    return await node.http.post(f"{node.url}/v1/chat/completions", json={**CHAT, **more}, headers=key)


async def until_free(node: RunningNode, script: Script) -> None:
    async def is_free() -> bool:
        metrics = (await node.http.get(f"{node.url}/metrics")).text
        return not script.busy and "domovoi_runs_generating 0.0" in metrics and "domovoi_runs_waiting 0.0" in metrics

    await node.until(is_free)


# Who gets in.


async def test_keys_are_asked_for(node: RunningNode, secret: str) -> None:
    cases = [
        ({}, "token_missing"),
        ({"Authorization": "Bearer wrong"}, "token_invalid"),
        (node.bearer, "token_invalid"),
    ]
    for headers, code in cases:
        for method, path in ENDPOINTS:
            response = await node.http.request(method, f"{node.url}{path}", headers=headers)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == code
            assert response.json()["error"]["type"] == "authentication_error"


async def test_a_revoked_key_opens_nothing(node: RunningNode, secret: str, client: AsyncOpenAI) -> None:
    keys = ApiKeys(node.settings.folder / "api-keys")
    found = keys.find(secret)
    assert found is not None
    await client.models.list()
    assert keys.last_used_ms(found) is not None
    keys.revoke(found)
    with pytest.raises(openai.AuthenticationError):
        await client.models.list()


async def test_pages_of_other_origins_are_refused(node: RunningNode, key: dict[str, str]) -> None:
    for method in ("GET", "OPTIONS"):
        headers = {**key, "Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET"}
        response = await node.http.request(method, f"{node.url}/v1/models", headers=headers)
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers


async def test_bodies_that_are_none_are_refused(node: RunningNode, key: dict[str, str]) -> None:
    url = f"{node.url}/v1/chat/completions"
    cases: list[tuple[dict[str, Any], int]] = [
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"content": b" " * (5 * 1024 * 1024), "headers": {"Content-Type": "application/json"}}, 413),
    ]
    for more, status in cases:
        response = await node.http.post(url, content=more["content"], headers={**key, **more["headers"]})
        assert response.status_code == status
        assert response.json()["error"]["message"]


# Whose turn it is.


async def test_programs_and_people_take_turns(node: RunningNode, key: dict[str, str], script: Script) -> None:
    everything = [chat(node, key, n=2) for _ in range(4)] + [node.post(node.request()) for _ in range(4)]
    assert {response.status_code for response in await asyncio.gather(*everything)} == {200}
    assert script.most_busy == 1


async def test_a_program_with_many_choices_lets_a_person_through(
    node: RunningNode, key: dict[str, str], script: Script
) -> None:
    script.held = True
    asking = asyncio.create_task(chat(node, key, n=4))
    await script.generating.wait()
    answer = await node.ask()
    # The program's second choice was there before the person; its third and fourth wait for them.
    for _ in range(3):
        script.finish()
    await node.whole(answer)
    assert [prompt.owner.startswith("api ") for prompt in script.prompts][:3] == [True, True, False]
    for _ in range(2):
        script.finish()
    assert (await asking).status_code == 200


async def test_a_full_queue_says_when_to_come_again(
    node: RunningNode, client: AsyncOpenAI, key: dict[str, str], script: Script
) -> None:
    script.held = True
    asking = [asyncio.create_task(chat(node, key, n=16)) for _ in range(2)]
    await script.generating.wait()

    async def are_waiting() -> bool:
        return "domovoi_runs_waiting 31.0" in (await node.http.get(f"{node.url}/metrics")).text

    await node.until(are_waiting)
    with pytest.raises(openai.InternalServerError) as busy:
        # One has its turn and 31 wait: the second of these is one too many.
        await client.chat.completions.create(**CHAT, n=2)
    assert (busy.value.status_code, busy.value.code) == (503, "engine_busy")
    assert int(busy.value.response.headers["retry-after"]) > 0
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await until_free(node, script)


# How programs leave.


def request_bytes(node: RunningNode, key: dict[str, str], body: dict[str, Any]) -> bytes:
    content = json.dumps({**CHAT, **body}).encode()
    host = node.url.removeprefix("http://")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key['Authorization']}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


async def hang_up_after(node: RunningNode, request: bytes, read: int, *, reset: bool) -> int:
    """Send a request, read so many bytes of what comes, and hang up. Returns how many came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rpartition(":")[2]))
    writer.write(request)
    got = 0
    while got < read and (data := await asyncio.wait_for(reader.read(read - got), 10)):
        got += len(data)
    if reset:
        # With the lingering time zero, closing sends RST.
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.close()
    return got


@pytest.mark.parametrize("body", [{"stream": True}, {"stream": True, "n": 3}, {"stream": False}])
async def test_hanging_up_anywhere_frees_the_engine(
    node: RunningNode, key: dict[str, str], script: Script, body: dict[str, Any]
) -> None:
    """Every byte of a streamed answer is a place to leave; the last ones are never reached by a held engine."""
    script.held = True
    request = request_bytes(node, key, body)
    script.say("One ", "two ")
    if body["stream"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rpartition(":")[2]))
        writer.write(request)
        everything = await asyncio.wait_for(reader.readuntil(b'"two "'), 10)
        writer.close()
        await until_free(node, script)
    else:
        everything = b""
    step = 1 if "DOMOVOI_SLOW_TESTS" in os.environ else max(1, len(everything) // 50)
    places = range(0, len(everything) + 1, step)
    for read in places:
        script.lines.clear()
        script.say("One ", "two ")
        await hang_up_after(node, request, read, reset=bool(read % 2))
        await until_free(node, script)
    script.lines.clear()
    script.held = False
    assert (await chat(node, key)).status_code == 200


async def test_a_request_cut_anywhere_leaves_nothing_behind(
    node: RunningNode, key: dict[str, str], script: Script
) -> None:
    request = request_bytes(node, key, {"stream": True})
    for sent in range(0, len(request), 7):
        await hang_up_after(node, request[:sent], 0, reset=bool(sent % 2))
    await until_free(node, script)
    assert script.prompts == []


async def test_who_leaves_the_queue_makes_room(node: RunningNode, key: dict[str, str], script: Script) -> None:
    script.held = True
    first = asyncio.create_task(chat(node, key))
    await script.generating.wait()
    await hang_up_after(node, request_bytes(node, key, {"n": 4}), 0, reset=False)
    script.finish()
    assert (await first).status_code == 200
    await until_free(node, script)
    assert len(script.prompts) <= 2


async def test_a_program_that_reads_nothing_holds_nobody_up(
    node: RunningNode, key: dict[str, str], script: Script
) -> None:
    # More than the system's buffers between the two hold.
    script.context = 2000
    script.answer = f"{'x' * 10_000} " * 1500
    _, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rpartition(":")[2]), limit=1024)
    writer.write(request_bytes(node, key, {"stream": True}))
    await script.generating.wait()
    script.answer = "Short."
    assert (await chat(node, key)).json()["choices"][0]["message"]["content"] == "Short."
    writer.close()
    await until_free(node, script)


async def test_a_program_that_goes_on_reading_nothing_is_cut_off(
    node: RunningNode,
    key: dict[str, str],
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(openai_api, "SEND_WITHIN_S", 0.05)
    script.context = 2000
    script.held = True
    _, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rpartition(":")[2]), limit=1024)
    writer.write(request_bytes(node, key, {"stream": True}))
    await script.generating.wait()
    script.say(*["x" * 10_000] * 1500)
    # The answer has no end, and the program does not hang up.
    await until_free(node, script)
    writer.close()
    assert [record for record in caplog.records if record.exc_info] == []


# When something of ours is wrong.


async def test_a_fault_of_ours_has_the_shape_too(
    node: RunningNode, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(openai_api, "chat_prompts", fail)
    response = await chat(node, key)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
    assert "fault" not in response.text


@given(st.sampled_from(list(Code)), st.text() | st.none())
def test_every_error_has_the_shape_that_clients_read(code: Code, detail: str | None) -> None:
    error = openai_errors.error_answer(DomovoiError(code, detail)).error
    assert error.message
    assert error.code
    assert error.type in {"authentication_error", "invalid_request_error", "server_error"}
    assert openai_errors.error_response(DomovoiError(code, detail)).status_code >= 400
