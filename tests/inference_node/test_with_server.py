"""The node and the real server together: the log, the tunnel, the relay, and what survives which death."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from inference_node import account_sync
from shared.change import MessageField
from shared.identifiers import from_hex
from shared.runs import Ended, RunEvent, Text
from shared.values import Request
from shared.wire import PathMessage, StartAnswer
from tests.inference_node.phone import Phone, has_final_state, until, until_true
from tests.inference_node.running_node import add_tiny_model, eventually, new_id, running_node
from tests.inference_node.scripted_engine import ScriptedEngine
from tests.sync_server.device import MESSAGEPACK
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from inference_node.main import Node

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only pokes wake the node, so that a test without one would hang."""
    monkeypatch.setattr(account_sync, "POLL_S", (3600.0, 3600.0))


@pytest.fixture
async def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def node(phone: Phone, tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[Node]:
    add_tiny_model(tmp_path / "data")
    async with running_node(tmp_path / "data", engine, phone.server.url) as started:
        await eventually(lambda: started.node._accounts.serves(phone.device.account_id))
        await eventually(lambda: started.node._tunnel.is_up)
        yield started.node


async def test_a_request_in_the_log_is_answered(phone: Phone, node: Node, engine: ScriptedEngine) -> None:
    answer = phone.ask("Hi", new_id())
    message = await until(phone, answer, "done")
    assert message.body == "Hello 🐈!"
    assert message.state is not None
    assert (message.state.model, message.state.engine) == ("Tiny", "scripted")
    assert engine.prompts[0].messages == [PathMessage("user", "Hi")]


async def test_Q3_the_next_request_waits_for_the_answer_before_it(
    phone: Phone, node: Node, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    conversation = new_id()
    first = phone.ask("One", conversation)
    second = phone.ask("Two", conversation, parent=first)
    await engine.has_paused.wait()
    engine.gate.set()
    await until(phone, second, "done")
    assert [len(prompt.messages) for prompt in engine.prompts] == [1, 3]
    assert engine.prompts[1].messages[1] == PathMessage("assistant", "Hello 🐈!")


async def test_a_stop_in_the_log_stops_the_run(phone: Phone, node: Node, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    conversation = new_id()
    answer = phone.ask("Hi", conversation)
    await engine.has_paused.wait()
    phone.write(answer, conversation, MessageField.STOP, True)
    assert (await until(phone, answer, "stopped")).body == "Hel"


async def test_Q6_deleting_the_conversation_stops_what_runs_and_what_waits(
    phone: Phone, node: Node, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    conversation = new_id()
    running = phone.ask("Hi", conversation)
    await engine.has_paused.wait()
    waiting = phone.ask("More", conversation, parent=running)
    phone.delete(conversation)
    for answer in (running, waiting):
        await until(phone, answer, "stopped")
    assert len(engine.prompts) == 1


async def test_Q1_a_request_of_another_node_is_left_alone(phone: Phone, node: Node, engine: ScriptedEngine) -> None:
    mine, phone.node_id = phone.node_id, new_id().hex()
    others = phone.ask("Not for you", new_id())
    phone.node_id = mine
    await until(phone, phone.ask("For you", new_id()), "done")
    assert phone.state(others) is None
    assert len(engine.prompts) == 1


async def test_Q2_one_request_by_two_ways_is_one_generation(phone: Phone, node: Node, engine: ScriptedEngine) -> None:
    conversation = new_id()
    answer = phone.ask("Hi", conversation)
    start = StartAnswer(answer, conversation, Request(from_hex(phone.node_id)), [PathMessage("user", "Hi")])
    responses = await asyncio.gather(*(asyncio.to_thread(start_relayed, phone, start) for _ in range(3)))
    assert {response.status_code for response in responses} == {200}
    await until(phone, answer, "done")
    assert len(engine.prompts) == 1


async def test_the_first_account_is_served_as_soon_as_it_is_made(
    server: RunningServer, tmp_path: Path, engine: ScriptedEngine
) -> None:
    add_tiny_model(tmp_path / "data")
    async with running_node(tmp_path / "data", engine, server.url) as started:
        await eventually(lambda: started.node._tunnel.is_up)
        device = await asyncio.to_thread(server.first_account)
        phone = Phone(server, device, started.identity.node_id)
        await until(phone, phone.ask("Hi", new_id()), "done")


def start_relayed(phone: Phone, start: StartAnswer) -> httpx.Response:
    return phone.relayed("POST", "/v1/answers", content=msgspec.msgpack.encode(start), headers=MESSAGEPACK)


async def relayed_events(phone: Phone, answer: bytes, after: int = 0) -> list[RunEvent]:
    response = await asyncio.to_thread(phone.relayed, "GET", f"/v1/answers/{answer.hex()}/events?after={after}")
    assert response.status_code == 200, response.text
    lines = [line for line in response.text.splitlines() if line.startswith("data: ")]
    return [msgspec.json.decode(line[6:], type=RunEvent) for line in lines]


async def test_an_answer_through_the_relay(phone: Phone, node: Node, engine: ScriptedEngine) -> None:
    wanted = phone.wanted("Hi")
    assert (await asyncio.to_thread(start_relayed, phone, wanted)).status_code == 200
    events = await relayed_events(phone, wanted.answer)
    assert "".join(event.text for event in events if isinstance(event, Text)) == "Hello 🐈!"
    ended = events[-1]
    assert isinstance(ended, Ended)
    await until_true(partial(has_final_state, phone, wanted.answer))
    assert await relayed_events(phone, wanted.answer, after=len(events) - 1) == [ended]


async def test_T4_large_bodies_and_streams_pass_within_their_credit(
    phone: Phone, node: Node, engine: ScriptedEngine
) -> None:
    engine.pieces = ["x" * 9_000] * 11
    path = [PathMessage("assistant" if n % 2 else "user", "y" * 90_000) for n in range(20)]
    wanted = phone.wanted("Hi")
    wanted = StartAnswer(wanted.answer, wanted.conversation, wanted.request, [*path, PathMessage("user", "Hi")])
    assert (await asyncio.to_thread(start_relayed, phone, wanted)).status_code == 200
    watchers = [relayed_events(phone, wanted.answer) for _ in range(4)]
    for events in await asyncio.gather(*watchers):
        assert sum(len(event.text) for event in events if isinstance(event, Text)) == 99_000
    assert engine.prompts[0].messages[:-1] == path


async def test_the_relay_asks_for_the_nodes_token(phone: Phone, node: Node) -> None:
    for token in ("x", phone.device.session.access_token):
        response = await asyncio.to_thread(phone.relayed, "GET", "/v1/status", headers={"domovoi-node-token": token})
        assert (response.status_code, response.json()["code"]) == (401, "token_invalid")
    for path in ("/v1/models", "/v1/chat/completions"):
        response = await asyncio.to_thread(phone.relayed, "GET", path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_a_caller_who_leaves_the_relay_leaves_the_run_alone(
    phone: Phone, node: Node, engine: ScriptedEngine
) -> None:
    engine.gate.clear()
    wanted = phone.wanted("Hi")
    await asyncio.to_thread(start_relayed, phone, wanted)
    headers = phone.device.bearer | {"domovoi-node-token": phone.token()}
    url = f"{phone.server.url}/relay/{phone.node_id}/v1/answers/{wanted.answer.hex()}/events"
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("GET", url, headers=headers) as response,
    ):
        async for line in response.aiter_lines():
            if line == "event: text":
                break
    await eventually(lambda: node._tunnel.open_calls == 0)
    engine.gate.set()
    await until_true(partial(has_final_state, phone, wanted.answer))


async def test_presence_tells_the_nodes_status(phone: Phone, node: Node) -> None:
    await until_true(phone.is_awake)
    (row,) = phone.device.request("GET", "/api/v1/nodes").json()["nodes"]
    assert (row["name"], row["status"]["model"], row["status"]["models"]) == ("Study", "Tiny", ["Tiny"])


async def test_answers_go_on_without_the_server_and_are_pushed_when_it_is_back(
    phone: Phone, node: Node, engine: ScriptedEngine
) -> None:
    await until(phone, phone.ask("Hi", new_id()), "done")
    engine.gate.clear()
    conversation = new_id()
    answer = phone.ask("Hi again", conversation)
    await engine.has_paused.wait()
    token, wanted = phone.token(), phone.wanted("Directly")
    settings, port = phone.server.settings, phone.server.port
    await asyncio.to_thread(phone.server.stop)
    async with httpx.AsyncClient(base_url=node.address, trust_env=False) as http:
        headers = {"authorization": f"Bearer {token}", **MESSAGEPACK}
        started = await http.post("/v1/answers", content=msgspec.msgpack.encode(wanted), headers=headers)
        assert started.status_code == 200, started.text
    engine.gate.set()
    await eventually(lambda: len(node._turns) == 0)
    again = await asyncio.to_thread(RunningServer, settings.data, port=port)
    try:
        phone.device.http = again.client()
        for identifier in (answer, wanted.answer):
            # The direct one's header is not in the log, so its cells are looked at.
            await until_true(partial(has_final_state, phone, identifier))
    finally:
        await asyncio.to_thread(again.stop)
