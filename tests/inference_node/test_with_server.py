"""The node and the real server together: enrolment, tunnel, relay, and days apart."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from inference_node.server import backoff
from inference_node.server.grants import Grants
from shared import values
from shared.runs import Ended, Text
from tests.inference_node.asking import Asking, the_node, token_of, until, until_served
from tests.inference_node.running_node import RunningNode, events_of
from tests.sealed_http import INSIDE, AsyncSealedTransport
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.inference_node.scripted_engine import Script


async def test_the_first_account_is_served_at_once(server: RunningServer, joined_node: RunningNode) -> None:
    device = await asyncio.to_thread(server.first_account)
    started = time.monotonic()
    await until_served(joined_node, device)
    # Told by a poke: a poll would come after half a minute.
    assert time.monotonic() - started < 10


async def test_what_was_asked_while_the_node_was_away_is_answered(
    asking: Asking, joined_node: RunningNode, script: Script
) -> None:
    await joined_node.stop()
    assert the_node(asking.device)["awake"] is False
    # It has said goodbye (rule T8).
    await until(lambda: bool(the_node(asking.device)["departure"] == "stopped"))
    first = asking.ask("One?")
    second = asking.ask("Two?", first)
    await joined_node.restart()
    await asking.until(second, "done")
    await until(lambda: bool(the_node(asking.device)["awake"]))


async def test_T6_the_server_knows_how_the_node_is(asking: Asking, joined_node: RunningNode, script: Script) -> None:
    def status() -> Any:
        return the_node(asking.device)["status"]

    await until(lambda: status() is not None and status()["engine_state"] == "ready")
    [candidate] = status()["candidates"]
    assert f"{candidate['scheme']}://{candidate['host']}:{candidate['port']}" == joined_node.url
    # Server and device are on this machine, too.
    assert (the_node(asking.device)["same_nat"], the_node(asking.device)["transport"]) == (True, "websocket")
    script.held = True
    asking.ask("One?")
    asking.ask("Two?")
    await until(lambda: bool(status()["queue"] == 1))
    script.finish()
    script.finish()
    await until(lambda: bool(status()["queue"] == 0))
    # A file that is dropped into the folder, and taken out of it, while nobody asks.
    dropped = joined_node.add_scripted_model("Dropped.gguf")
    await until(lambda: "Dropped" in status()["models"])
    dropped.unlink()
    await until(lambda: "Dropped" not in status()["models"])


async def through_relay(joined_node: RunningNode, asking: Asking) -> httpx.AsyncClient:
    """Return a client whose calls reach the node sealed, through the relay."""
    token = await asyncio.to_thread(token_of, joined_node, asking.device)
    base = f"{joined_node.settings.server_url}/relay/{joined_node.identity.node_id}"
    transport = AsyncSealedTransport(joined_node.http, base, joined_node.identity.node_id, asking.device.bearer)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/msgpack"}
    return httpx.AsyncClient(transport=transport, base_url=INSIDE, headers=headers)


async def test_an_answer_comes_through_the_relay(asking: Asking, joined_node: RunningNode, script: Script) -> None:
    script.held = True
    body = joined_node.request()
    client = await through_relay(joined_node, asking)
    started = await client.post("/v1/answers", content=msgspec.msgpack.encode(body))
    assert started.status_code == 200, started.text
    url = f"/v1/answers/{body.answer.hex()}/events"
    got = []
    async with client.stream("GET", url) as stream:
        script.say("Word by word.")
        async for event in events_of(stream):
            got.append(event)
            if isinstance(event.event, Text):
                # It is streamed: the end is not written yet.
                break
    script.finish()
    async with client.stream("GET", url, headers={"Last-Event-ID": f"{body.answer.hex()}:2"}) as stream:
        got += [event async for event in events_of(stream)]
    assert [number for number, _, _ in got] == [1, 2, 3]
    assert isinstance(got[-1].event, Ended)


async def test_T4_a_long_replay_is_held_back_by_credit(
    asking: Asking, joined_node: RunningNode, script: Script
) -> None:
    script.context, script.answer = 100_000, "word " * 1500
    script.held = True
    body = joined_node.request()
    client = await through_relay(joined_node, asking)
    await client.post("/v1/answers", content=msgspec.msgpack.encode(body))
    text = "".join(f"{n:05} " for n in range(10_000))
    for start in range(0, len(text), 6000):
        script.say(text[start : start + 6000])
    script.finish()
    for _ in range(6):
        async with client.stream("GET", f"/v1/answers/{body.answer.hex()}/events") as stream:
            events = [event async for event in events_of(stream)]
        assert "".join(event.text for _, event, _ in events if isinstance(event, Text)) == text


async def test_H6_the_relay_shows_only_the_remote_application(asking: Asking, joined_node: RunningNode) -> None:
    base = f"{joined_node.settings.server_url}/relay/{joined_node.identity.node_id}"
    bearer = asking.device.bearer
    for path in ("/healthz", "/v1/keys"):
        assert (await joined_node.http.get(f"{base}{path}", headers=bearer)).status_code == 200
    for path in ("/v1/status", "/v1/models", "/v1/chat/completions", "/metrics", "/openapi.json", "/v1/answers"):
        response = await joined_node.http.get(f"{base}{path}", headers=bearer)
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), path
    client = await through_relay(joined_node, asking)
    assert (await client.get("/v1/status")).status_code == 200
    for path in ("/v1/models", "/v1/chat/completions", "/metrics", "/openapi.json", "/v1/sealed"):
        response = await client.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), path
    refused = await client.get("/v1/status", headers={"Authorization": ""})
    assert (refused.status_code, refused.json()["code"]) == (401, "token_missing")


async def test_the_server_may_go_and_come_back(
    server: RunningServer, asking: Asking, joined_node: RunningNode, script: Script
) -> None:
    headers = await until_served(joined_node, asking.device)
    answer, changes = asking.request("Hello?")
    port = server.port
    server.stop()
    body = joined_node.request(answer=answer, conversation=asking.conversation)
    assert (await joined_node.post(body, **headers)).status_code == 200
    events = await joined_node.whole(body.answer, headers=headers)
    ended = events[-1].event
    assert isinstance(ended, Ended)
    assert values.decode(ended.changes[0].value, str) == script.answer
    again = RunningServer(server.settings.data, port=port)
    try:
        asking.device.http = again.client()
        asking.device.push(*changes)
        assert (await asking.until(answer, "done")).body == script.answer
        await asking.until(asking.ask("And now?", answer), "done")
    finally:
        await joined_node.stop()
        again.stop()


async def test_P6_unpairing_ends_what_is_open_at_the_node(
    asking: Asking, joined_node: RunningNode, script: Script
) -> None:
    script.held = True
    headers = await until_served(joined_node, asking.device)
    body = joined_node.request()
    assert (await joined_node.post(body, **headers)).status_code == 200
    url = f"{joined_node.url}/v1/answers/{body.answer.hex()}/events"
    async with joined_node.http.stream("GET", url, headers=headers) as stream:
        events = events_of(stream)
        await anext(events)
        path = f"/api/v1/nodes/{joined_node.identity.node_id}"
        assert (await asyncio.to_thread(asking.device.request, "DELETE", path)).status_code == 204
        with pytest.raises(httpx.RemoteProtocolError):
            await asyncio.wait_for(_read_on(events), 10)
    refused = await joined_node.http.get(f"{joined_node.url}/v1/status", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")


async def _read_on(events: AsyncIterator[object]) -> None:
    async for _ in events:
        pass


async def test_P5_a_node_that_nobody_has_paired_says_so_once(
    server: RunningServer,
    tmp_path: Path,
    script: Script,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backoff, "FIRST_S", 0.01)
    monkeypatch.setattr(backoff, "BASE_S", 0.01)
    tries: list[str] = []
    assertion = Grants.assertion

    def counted(grants: Grants) -> str:
        tries.append(assertion(grants))
        return tries[-1]

    monkeypatch.setattr(Grants, "assertion", counted)
    stranger = RunningNode(tmp_path / "elsewhere", make_engine=script.make_engine, server_url=server.url)
    stranger.add_scripted_model()
    await stranger.start()
    await until(lambda: len(tries) > 3)
    await stranger.stop()
    said = [record.getMessage() for record in caplog.records if "not paired" in record.getMessage()]
    assert len(said) == 1
    assert f"domovoi node pair {server.url}" in said[0]
