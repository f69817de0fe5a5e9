"""The node and the real server together: the log, the tunnel, the relay, and what survives which death."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from inference_node import account_sync
from inference_node.identity import enrol, ensure_identity
from shared import values
from shared.change import ConversationField, EntityType, MessageField
from shared.identifiers import from_hex
from shared.merge import merge
from shared.messages import Message, fold
from shared.runs import Ended, RunEvent, Text
from shared.values import FINAL_STATES, Header, Request
from shared.wire import PathMessage, StartAnswer
from tests.inference_node.running_node import WITHIN_S, add_tiny_model, eventually, new_id, running_node
from tests.inference_node.scripted_engine import ScriptedEngine
from tests.sync_server.device import MESSAGEPACK, Device
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from inference_node.main import Node
    from shared.change import Change

ROOT = Path(__file__).parents[2]


class Phone:
    """The app, as far as a node can tell: writes messages and requests, reads answers. Blocks."""

    def __init__(self, server: RunningServer, device: Device, node_id: str) -> None:
        self.server = server
        self.device = device
        self.node_id = node_id

    def ask(self, text: str, conversation: bytes, parent: bytes | None = None) -> bytes:
        """Write a message and its empty answer in one push; return the answer's id."""
        question, answer = new_id(), new_id()
        self.device.push(
            self._change(question, conversation, MessageField.HEADER, Header("user", parent)),
            self._change(question, conversation, MessageField.BODY, text),
            self._change(answer, conversation, MessageField.HEADER, Header("assistant", question)),
            self._change(answer, conversation, MessageField.REQUEST, Request(from_hex(self.node_id))),
        )
        return answer

    def write(self, message: bytes, conversation: bytes, field: MessageField, value: object) -> None:
        self.device.push(self._change(message, conversation, field, value))

    def delete(self, conversation: bytes) -> None:
        self.device.write(
            values.encode(True),
            etype=EntityType.CONVERSATION,
            eid=conversation,
            field=ConversationField.DELETED,
            scope=conversation,
        )

    def read(self, answer: bytes) -> Message | None:
        """Return the message as the server's log has it."""
        cells: dict[tuple[int, bytes, int], Change] = {}
        merge(cells, self.device.pull().changes)
        return fold(cells.values()).get(answer)

    def state(self, answer: bytes) -> str | None:
        message = self.read(answer)
        return message.state.state if message is not None and message.state is not None else None

    def token(self) -> str:
        response = self.device.request("POST", "/api/v1/auth/token", json={"audience": f"node:{self.node_id}"})
        return str(response.json()["access_token"])

    def wanted(self, text: str) -> StartAnswer:
        request = Request(from_hex(self.node_id))
        return StartAnswer(new_id(), new_id(), request, [PathMessage("user", text)])

    def relayed(self, method: str, path: str, **more: object) -> httpx.Response:
        headers = {"domovoi-node-token": self.token(), **more.pop("headers", {})}  # type: ignore[dict-item]
        return self.device.request(method, f"/relay/{self.node_id}{path}", headers=headers, **more)

    def is_awake(self) -> bool:
        nodes = self.device.request("GET", "/api/v1/nodes").json()["nodes"]
        return any(node["awake"] and (node["status"] or {}).get("engine_state") == "ready" for node in nodes)

    def _change(self, message: bytes, conversation: bytes, field: MessageField, value: object) -> Change:
        return self.device.change(
            values.encode(value), etype=EntityType.MESSAGE, eid=message, field=field, scope=conversation
        )


async def until(phone: Phone, answer: bytes, *states: str) -> Message:
    """Wait until the server's log has the answer in one of the states."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            message = await asyncio.to_thread(phone.read, answer)
            if message is not None and message.state is not None and message.state.state in states:
                return message
            await asyncio.sleep(0.02)


async def until_true(condition: Callable[[], bool]) -> None:
    """Wait until `condition`, which blocks, holds."""
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # the other side is a process or a thread
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only pokes wake the node, so that a test without one would hang."""
    monkeypatch.setattr(account_sync, "POLL_S", (3600.0, 3600.0))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    data = tmp_path / "data"
    enrol(data, ensure_identity(data, "Study"))
    started = RunningServer(data)
    yield started
    started.stop()


@pytest.fixture
def phone(server: RunningServer, tmp_path: Path) -> Phone:
    return Phone(server, server.first_account(), ensure_identity(tmp_path / "data", "Study").node_id)


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


def has_final_state(phone: Phone, answer: bytes) -> bool:
    for cell in phone.device.pull().changes:
        if cell.eid == answer and cell.field == MessageField.STATE:
            state = values.decode(cell.value, values.State)
            if state is not None and state.state in FINAL_STATES:
                return True
    return False


# With the real model, in processes that really die.


@pytest.fixture
def real_node(phone: Phone, tmp_path: Path, default_test_model: Path) -> Iterator[NodeProcess]:
    models = tmp_path / "data" / "models"
    models.mkdir()
    (models / default_test_model.name).hardlink_to(default_test_model)
    process = NodeProcess(tmp_path / "data", phone.server.url)
    process.start()
    yield process
    process.kill()


class NodeProcess:
    """A node in a process of its own, which can be killed."""

    def __init__(self, data: Path, server_url: str) -> None:
        self._arguments = [sys.executable, "-m", "tests.inference_node.node_process", str(data), server_url]
        self._process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> None:
        """Start and wait until it listens."""
        self._process = subprocess.Popen(self._arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        watchdog = threading.Timer(WITHIN_S, self._process.kill)
        watchdog.start()
        self.address = self._process.stdout.readline().strip()
        watchdog.cancel()
        assert self.address.startswith("http://"), "the node did not start"

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        code = self._process.wait(WITHIN_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


async def test_the_real_model_answers_a_request_of_the_log(phone: Phone, real_node: NodeProcess) -> None:
    answer = phone.ask("What is the capital of France? Answer in one word.", new_id())
    message = await until(phone, answer, "done", "failed", "interrupted")
    assert message.state is not None
    assert message.state.state == "done"
    assert "Paris" in message.body
    assert (message.state.model, message.state.engine) == ("SmolLM2 135M Instruct", "llama_cpp")


async def test_Q7_a_killed_node_keeps_the_text_and_says_that_it_restarted(
    phone: Phone, real_node: NodeProcess, tmp_path: Path
) -> None:
    answer = phone.ask("Tell me a very long story about the sea, with many chapters.", new_id())
    await until(phone, answer, "running")
    said = await first_words(real_node, phone, answer)
    saved = tmp_path / "data" / "node" / "node.db-wal"
    await until_true(lambda: said.encode() in saved.read_bytes())
    real_node.kill()
    real_node.start()
    message = await until(phone, answer, "interrupted", "done")
    assert message.state is not None
    assert (message.state.state, message.state.code) == ("interrupted", "node_restarted")
    assert message.body.startswith(said)


async def first_words(real_node: NodeProcess, phone: Phone, answer: bytes) -> str:
    """Return the beginning of a running answer, read from the node itself."""
    said = ""
    url = f"{real_node.address}/v1/answers/{answer.hex()}/events"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as http,
        http.stream("GET", url, headers={"authorization": f"Bearer {phone.token()}"}) as response,
    ):
        async for line in response.aiter_lines():
            event = msgspec.json.decode(line[6:], type=RunEvent) if line.startswith("data: ") else None
            said += event.text if isinstance(event, Text) else ""
            if len(said) > 20:
                break
    return said


async def test_an_orderly_stop_leaves_nothing_running(phone: Phone, real_node: NodeProcess) -> None:
    conversation = new_id()
    answer = phone.ask("Tell me a very long story about the sea.", conversation)
    await until(phone, answer, "running")
    started = time.monotonic()
    await asyncio.to_thread(real_node.stop)
    assert time.monotonic() - started < WITHIN_S
    real_node.start()
    message = await until(phone, answer, *FINAL_STATES)
    assert message.state is not None
    assert message.state.code == "node_restarted"


async def test_stop_from_another_device_frees_the_real_engine(phone: Phone, real_node: NodeProcess) -> None:
    conversation = new_id()
    answer = phone.ask("Tell me a very long story about the sea.", conversation)
    await until(phone, answer, "running")
    phone.write(answer, conversation, MessageField.STOP, True)
    await until(phone, answer, "stopped")
    message = await until(phone, phone.ask("Say hello.", new_id()), "done")
    assert message.body
