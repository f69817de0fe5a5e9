"""The node and the real server together: enrolment, tunnel, log, relay."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from inference_node import clock as node_clock
from inference_node.identity import enrol
from shared import values
from shared.change import Change, ConversationField, EntityType, MessageField
from shared.messages import Message, fold
from shared.runs import Ended, Text
from shared.values import Header, Request, State
from tests.inference_node.running_node import RunningNode, events_of, new_id
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    import httpx

    from tests.inference_node.scripted_engine import Script
    from tests.sync_server.device import Device

WITHIN_S = 20.0


class Asking:
    """A device that writes conversations into the log, as the app does."""

    def __init__(self, device: Device, node_id: bytes) -> None:
        self.device = device
        self._node_id = node_id
        self.conversation = new_id()

    def write(self, field: int, eid: bytes, value: object, etype: int = EntityType.MESSAGE) -> Change:
        scope = self.conversation
        return self.device.change(values.encode(value), etype=etype, eid=eid, field=field, scope=scope)

    def request(self, text: str, parent: bytes | None = None, **more: Any) -> tuple[bytes, list[Change]]:
        """Return a question's answer and the changes that ask it."""
        question, answer = new_id(), new_id()
        asked = Request(more.pop("node", self._node_id), **more)
        return answer, [
            self.write(MessageField.HEADER, question, Header("user", parent)),
            self.write(MessageField.BODY, question, text),
            self.write(MessageField.HEADER, answer, Header("assistant", question)),
            self.write(MessageField.REQUEST, answer, asked),
        ]

    def ask(self, text: str, parent: bytes | None = None, **more: Any) -> bytes:
        """Write a question into the log and return its answer."""
        answer, changes = self.request(text, parent, **more)
        assert self.device.push(*changes).rejected == []
        return answer

    def push(self, field: int, eid: bytes, value: object, etype: int = EntityType.MESSAGE) -> None:
        assert self.device.push(self.write(field, eid, value, etype)).rejected == []

    def messages(self) -> dict[bytes, Message]:
        """Return what the log has."""
        return fold(self.device.pull(limit=1000).changes)

    def message(self, identifier: bytes) -> Message:
        return self.messages()[identifier]

    async def until(self, identifier: bytes, *states: str) -> Message:
        """Wait until the log says that the answer is in one of these states."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                message = (await asyncio.to_thread(self.messages)).get(identifier)
                if message is not None and message.state is not None and message.state.state in states:
                    return message
                await asyncio.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path, cheap_passwords: None) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path / "data")
    yield running
    running.stop()


@pytest.fixture
async def node(server: RunningServer, script: Script) -> AsyncIterator[RunningNode]:
    """A node that shares the server's data folder; nobody has an account yet."""
    node = RunningNode(server.settings.data, make_engine=script.make_engine, server_url=server.url)
    node.add_scripted_model()
    enrol(node.settings.data, node.identity)
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def asking(server: RunningServer, node: RunningNode) -> Asking:
    device = await asyncio.to_thread(server.first_account)
    await until_served(node, device)
    return Asking(device, node.node_id)


def token_of(node: RunningNode, device: Device) -> str:
    response = device.request("POST", "/api/v1/auth/token", json={"audience": f"node:{node.identity.node_id}"})
    return str(response.json()["access_token"])


async def until_served(node: RunningNode, device: Device) -> dict[str, str]:
    """Wait until the node knows the account; return the headers for it."""
    headers = {"Authorization": f"Bearer {await asyncio.to_thread(token_of, node, device)}"}

    async def is_served() -> bool:
        return (await node.http.get(f"{node.url}/v1/status", headers=headers)).is_success

    await node.until(is_served)
    return headers


def the_node(device: Device) -> Any:
    (node,) = device.request("GET", "/api/v1/nodes").json()["nodes"]
    return node


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # asked over HTTP
            await asyncio.sleep(0.02)


async def test_the_first_account_is_served_at_once(server: RunningServer, node: RunningNode) -> None:
    device = await asyncio.to_thread(server.first_account)
    started = time.monotonic()
    await until_served(node, device)
    # Told by a poke: a poll would come after half a minute.
    assert time.monotonic() - started < 10


async def test_a_request_in_the_log_is_answered(asking: Asking, script: Script) -> None:
    answer = asking.ask("Who are you?")
    message = await asking.until(answer, "done")
    assert message.body == script.answer
    assert message.state is not None
    assert (message.state.model, message.state.engine) == ("Test Model", "scripted")
    assert [(m.role, m.content) for m in script.prompts[0].messages] == [("user", "Who are you?")]


async def test_Q3_a_branch_is_answered_in_order(asking: Asking, script: Script) -> None:
    first, changes = asking.request("One?")
    second, more = asking.request("Two?", first)
    asking.device.push(*changes, *more)
    await asking.until(second, "done")
    assert [len(prompt.messages) for prompt in script.prompts] == [1, 3]
    assert script.prompts[1].messages[1].content == script.answer
    assert asking.message(first).state is not None


async def test_Q3_nothing_follows_a_failed_answer(asking: Asking, script: Script) -> None:
    failed = asking.ask("One?", model="nowhere")
    await asking.until(failed, "failed")
    waiting = asking.ask("Two?", failed)
    other = asking.ask("Something else?")
    await asking.until(other, "done")
    assert asking.message(waiting).state is None
    # Asked again, beside the failed one, it goes on from there.
    again = asking.ask("Two?", other)
    await asking.until(again, "done")


async def test_Q1_requests_for_others_are_left_alone(asking: Asking, script: Script) -> None:
    foreign = asking.ask("You?", node=bytes(16))
    anybody = asking.ask("Anybody?", node=None)
    await asking.until(asking.ask("Me?"), "done")
    assert asking.message(foreign).state is None
    assert asking.message(anybody).state is None
    assert len(script.prompts) == 1


async def test_Q2_direct_and_log_are_one_generation(asking: Asking, node: RunningNode, script: Script) -> None:
    script.held = True
    headers = await until_served(node, asking.device)
    answer, changes = asking.request("Hello?")
    body = node.request(answer=answer, conversation=asking.conversation)
    assert (await node.post(body, **headers)).status_code == 200
    asking.device.push(*changes)
    await asking.until(answer, "running")
    script.say("Once.")
    script.finish()
    assert (await asking.until(answer, "done")).body == "Once."
    script.held = False
    await asking.until(asking.ask("And?", answer), "done")
    assert len(script.prompts) == 2


async def test_Q6_a_stop_before_the_claim_is_written(asking: Asking, script: Script) -> None:
    answer, changes = asking.request("Never mind.")
    asking.device.push(*changes, asking.write(MessageField.STOP, answer, True))
    assert (await asking.until(answer, "stopped")).body == ""
    assert script.prompts == []


@pytest.mark.parametrize("what", ["stop", "message", "question", "conversation"])
async def test_Q6_a_stop_or_deletion_in_mid_answer_frees_the_engine(asking: Asking, script: Script, what: str) -> None:
    script.held = True
    answer = asking.ask("Tell me everything.")
    script.say("It all ")
    await asyncio.wait_for(script.generating.wait(), WITHIN_S)
    await asking.until(answer, "running")
    question = asking.message(answer).header.parent
    assert question is not None
    match what:
        case "stop":
            asking.push(MessageField.STOP, answer, True)
        case "message":
            asking.push(MessageField.DELETED, answer, True)
        case "question":
            asking.push(MessageField.DELETED, question, True)
        case _:
            asking.push(ConversationField.DELETED, asking.conversation, True, EntityType.CONVERSATION)
    message = await asking.until(answer, "stopped")
    assert message.body == "It all "
    assert not script.busy


async def test_Q7_a_run_that_the_node_has_lost_is_interrupted(asking: Asking, node: RunningNode) -> None:
    await node.stop()
    answer, changes = asking.request("Hello?")
    asking.device.push(*changes, asking.write(MessageField.STATE, answer, State(state="running")))
    await node.restart()
    message = await asking.until(answer, "interrupted")
    assert message.state is not None
    assert message.state.code == "node_restarted"


async def test_what_was_asked_while_the_node_was_away_is_answered(
    asking: Asking, node: RunningNode, script: Script
) -> None:
    await node.stop()
    assert the_node(asking.device)["awake"] is False
    first = asking.ask("One?")
    second = asking.ask("Two?", first)
    await node.restart()
    await asking.until(second, "done")
    await until(lambda: bool(the_node(asking.device)["awake"]))


async def test_T6_the_server_knows_how_the_node_is(asking: Asking, node: RunningNode, script: Script) -> None:
    def status() -> Any:
        return the_node(asking.device)["status"]

    await until(lambda: status() is not None and status()["engine_state"] == "ready")
    assert status()["candidates"] == [node.url]
    script.held = True
    asking.ask("One?")
    asking.ask("Two?")
    await until(lambda: bool(status()["queue"] == 1))
    script.finish()
    script.finish()
    await until(lambda: bool(status()["queue"] == 0))


async def relayed(node: RunningNode, asking: Asking, method: str, path: str, **more: Any) -> httpx.Response:
    url = f"{node.settings.server_url}/relay/{node.identity.node_id}{path}"
    return await node.http.request(method, url, headers=await relay_headers(node, asking), **more)


async def relay_headers(node: RunningNode, asking: Asking) -> dict[str, str]:
    token = await asyncio.to_thread(token_of, node, asking.device)
    return {**asking.device.bearer, "Domovoi-Node-Token": token, "Content-Type": "application/msgpack"}


async def test_an_answer_comes_through_the_relay(asking: Asking, node: RunningNode, script: Script) -> None:
    script.held = True
    body = node.request()
    started = await relayed(node, asking, "POST", "/v1/answers", content=msgspec.msgpack.encode(body))
    assert started.status_code == 200, started.text
    url = f"{node.settings.server_url}/relay/{node.identity.node_id}/v1/answers/{body.answer.hex()}/events"
    headers = await relay_headers(node, asking)
    got = []
    async with node.http.stream("GET", url, headers=headers) as stream:
        script.say("Word by word.")
        async for event in events_of(stream):
            got.append(event)
            if isinstance(event.event, Text):
                # It is streamed: the end is not written yet.
                break
    script.finish()
    async with node.http.stream("GET", url, headers={**headers, "Last-Event-ID": f"{body.answer.hex()}:2"}) as stream:
        got += [event async for event in events_of(stream)]
    assert [number for number, _, _ in got] == [1, 2, 3]
    assert isinstance(got[-1].event, Ended)


async def test_T4_a_long_replay_is_held_back_by_credit(asking: Asking, node: RunningNode, script: Script) -> None:
    script.context, script.answer = 100_000, "word " * 1500
    script.held = True
    body = node.request()
    await relayed(node, asking, "POST", "/v1/answers", content=msgspec.msgpack.encode(body))
    text = "".join(f"{n:05} " for n in range(10_000))
    for start in range(0, len(text), 6000):
        script.say(text[start : start + 6000])
    script.finish()
    url = f"{node.settings.server_url}/relay/{node.identity.node_id}/v1/answers/{body.answer.hex()}/events"
    for _ in range(6):
        async with node.http.stream("GET", url, headers=await relay_headers(node, asking)) as stream:
            events = [event async for event in events_of(stream)]
        assert "".join(event.text for _, event, _ in events if isinstance(event, Text)) == text


async def test_the_relay_shows_only_the_remote_application(asking: Asking, node: RunningNode) -> None:
    assert (await relayed(node, asking, "GET", "/healthz")).status_code == 200
    assert (await relayed(node, asking, "GET", "/v1/status")).status_code == 200
    for path in ("/v1/models", "/v1/chat/completions", "/metrics", "/openapi.json"):
        response = await relayed(node, asking, "GET", path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    url = f"{node.settings.server_url}/relay/{node.identity.node_id}/v1/status"
    refused = await node.http.get(url, headers=asking.device.bearer)
    assert (refused.status_code, refused.json()["code"]) == (401, "token_missing")


async def test_the_server_may_go_and_come_back(
    server: RunningServer, asking: Asking, node: RunningNode, script: Script
) -> None:
    headers = await until_served(node, asking.device)
    answer, changes = asking.request("Hello?")
    port = server.port
    server.stop()
    body = node.request(answer=answer, conversation=asking.conversation)
    assert (await node.post(body, **headers)).status_code == 200
    events = await node.whole(body.answer, headers=headers)
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
        await node.stop()
        again.stop()


async def test_C6_a_node_whose_clock_is_ahead_is_heard(
    server: RunningServer, node: RunningNode, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await asyncio.to_thread(server.first_account)
    asking = Asking(device, node.node_id)
    headers = await until_served(node, device)
    real = node_clock.now_ms
    monkeypatch.setattr(node_clock, "now_ms", lambda: real() + 3_600_000)
    answer, changes = asking.request("Hello?")
    body = node.request(answer=answer, conversation=asking.conversation)
    await node.post(body, **headers)
    device.push(*changes)
    assert (await asking.until(answer, "done")).body == script.answer


def in_server_database(server: RunningServer, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(server.settings.data / "server.db")) as database, database:
        database.execute(statement, parameters)


async def test_L14_a_server_from_a_backup_gets_back_what_it_lost(
    server: RunningServer, asking: Asking, node: RunningNode, script: Script
) -> None:
    kept = asking.ask("One?")
    await asking.until(kept, "done")
    data = server.settings.data
    with closing(sqlite3.connect(data / "server.db")) as live, closing(sqlite3.connect(data / "backup.db")) as backup:
        live.backup(backup)
    lost = asking.ask("Two?", kept)
    await asking.until(lost, "done")
    body = asking.message(lost).body
    port = server.port
    await node.stop()
    server.stop()
    with closing(sqlite3.connect(data / "server.db")) as live, closing(sqlite3.connect(data / "backup.db")) as backup:
        backup.backup(live)
    in_server_database(server, "UPDATE account SET epoch = epoch + 1")
    again = RunningServer(data, port=port)
    try:
        asking.device.http = again.client()
        await node.restart()
        message = await asking.until(lost, "done")
        assert message.body == body
        assert asking.message(kept).state is not None
    finally:
        await node.stop()
        again.stop()
