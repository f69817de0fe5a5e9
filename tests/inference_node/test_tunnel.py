"""The node's end of the tunnel against a server that plays every part by hand (rules T1-T6)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from shared.node_status import NodeStatus
from shared.sealed_wire import SealedCall, SealedReply, SealingKeys
from shared.sealing import SEALED, ReplyOpener, seal_call, verify_sealing_key
from shared.tunnel import heartbeat, machine
from shared.tunnel.frames import Frame, FrameType
from shared.tunnel.limits import STREAM_CREDIT_BYTES
from shared.tunnel.payloads import OpenRequest, PokePayload, ResetPayload
from tests.inference_node.running_node import RunningNode
from tests.inference_node.tunnel_server import Peer, TunnelServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.inference_node.scripted_engine import Script


class Connected(NamedTuple):
    server: TunnelServer
    node: RunningNode
    peer: Peer
    keys: list[SealingKeys]


@pytest.fixture
async def connected(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connected]:
    monkeypatch.setattr(machine, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(machine, "BACKOFF_S", 0.01)
    # This server knows no long polling.
    monkeypatch.setattr(machine, "SHORT_LIVES", 1000)
    async with TunnelServer().running() as server:
        node = RunningNode(tmp_path / "data", make_engine=script.make_engine, server_url=server.url)
        node.add_scripted_model()
        await node.grant(node.account)
        await node.start()
        yield Connected(server, node, await server.peer(), [])
        await node.stop()


async def call(connected: Connected, stream: int, path: str, body: bytes = b"", **more: Any) -> ReplyOpener:
    """Make a sealed call through the tunnel, and return what opens its reply."""
    node = connected.node
    if not connected.keys:
        await connected.peer.open(2, "GET", "/v1/keys")
        await connected.peer.send(Frame(FrameType.END, 2))
        _, published = await connected.peer.response(2)
        connected.keys.append(msgspec.json.decode(published, type=SealingKeys))
    [keys] = connected.keys
    token = more.pop("token", node.authority.token(node.account))
    method = "POST" if body else "GET"
    inner = SealedCall(method, path, os.urandom(32), keys.epoch, token, body, **more)  # type: ignore[arg-type]
    key = verify_sealing_key(keys, node.identity.node_id, time.time())
    request = seal_call(key, node.identity.node_id, inner)
    await connected.peer.open(stream, "POST", "/v1/sealed", {"content-type": SEALED})
    await connected.peer.send(Frame(FrameType.DATA, stream, request), Frame(FrameType.END, stream))
    return ReplyOpener(inner, request)


async def start(connected: Connected, stream: int) -> bytes:
    """Start an answer through the tunnel."""
    body = connected.node.request()
    opener = await call(connected, stream, "/v1/answers", msgspec.msgpack.encode(body))
    status, sealed = await connected.peer.response(stream)
    assert status == 200
    assert msgspec.msgpack.decode(opener.open(sealed), type=SealedReply).status == 200
    return body.answer


async def test_T2_hello_carries_the_nodes_login(connected: Connected) -> None:
    assert connected.peer.hello.token.count(".") == 2
    status = msgspec.msgpack.decode((await connected.peer.next(FrameType.STATUS)).payload, type=NodeStatus)
    assert status.name == "Test PC"


async def test_T3_a_call_is_answered_on_its_stream(connected: Connected) -> None:
    await connected.peer.open(4, "GET", "/healthz")
    await connected.peer.send(Frame(FrameType.END, 4))
    status, body = await connected.peer.response(4)
    assert (status, body) == (200, b'{"engine_state":"ready"}')


async def test_T3_H1_the_token_is_asked_for_inside_and_counts_for_nothing_outside(connected: Connected) -> None:
    opener = await call(connected, 4, "/v1/status", token="")
    _, sealed = await connected.peer.response(4)
    reply = msgspec.msgpack.decode(opener.open(sealed), type=SealedReply)
    assert (reply.status, b"token_missing" in reply.body) == (401, True)
    await connected.peer.open(6, "GET", "/v1/status", {"authorization": connected.node.bearer["Authorization"]})
    await connected.peer.send(Frame(FrameType.END, 6))
    status, body = await connected.peer.response(6)
    assert (status, b"not_found" in body) == (404, True)


async def test_T3_a_reset_ends_the_call_and_not_the_run(connected: Connected, script: Script) -> None:
    script.held = True
    answer = await start(connected, 4)
    await call(connected, 6, f"/v1/answers/{answer.hex()}/events")
    await connected.peer.next(FrameType.DATA, 6)
    await connected.peer.send(Frame(FrameType.RESET, 6, msgspec.msgpack.encode(ResetPayload("not_found"))))
    script.say("All the same.")
    script.finish()
    events = await connected.node.whole(answer)
    assert len(events) == 3


async def test_T3_a_caller_that_goes_before_its_answer_is_no_fault_of_the_nodes(
    connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Frame(FrameType.OPEN, 4, msgspec.msgpack.encode(OpenRequest("GET", "/healthz", "", [])))
    reset = Frame(FrameType.RESET, 4, msgspec.msgpack.encode(ResetPayload("not_found")))
    await connected.peer.send(opened, reset)
    await connected.peer.open(6, "GET", "/healthz")
    await connected.peer.send(Frame(FrameType.END, 6))
    assert (await connected.peer.response(6))[0] == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_T4_no_more_is_sent_than_was_granted(connected: Connected, script: Script) -> None:
    script.held = True
    script.context = 100_000
    answer = await start(connected, 4)
    text = "x" * 80_000
    for start_at in range(0, len(text), 8000):
        script.say(text[start_at : start_at + 8000])
    script.finish()
    # Each text event is JSON, so the replay is longer than the text; twice over it passes any credit.
    expected = await connected.node.whole(answer)
    size = sum(len(raw) for _, _, raw in expected)
    assert size > 80_000
    number, received = 4, 0
    while received <= 2 * STREAM_CREDIT_BYTES:
        number += 2
        await call(connected, number, f"/v1/answers/{answer.hex()}/events")
        _, body = await connected.peer.response(number)
        assert size <= len(body) <= STREAM_CREDIT_BYTES
        received += len(body)


async def test_T4_a_response_waits_for_credit(connected: Connected, script: Script) -> None:
    script.held = True
    answer = await start(connected, 4)
    for start_at in range(20):
        script.say(f"{start_at}" + "\u0001" * 2000)
    script.finish()
    expected = await connected.node.whole(answer)
    size = sum(len(raw) for _, _, raw in expected)
    assert size > STREAM_CREDIT_BYTES
    await call(connected, 6, f"/v1/answers/{answer.hex()}/events")
    got = 0
    while got < STREAM_CREDIT_BYTES:
        got += len((await connected.peer.next(FrameType.DATA, 6)).payload)
    assert got == STREAM_CREDIT_BYTES
    # All that was granted is used up. Other calls pass.
    await connected.peer.open(8, "GET", "/healthz")
    await connected.peer.send(Frame(FrameType.END, 8))
    assert (await connected.peer.next(FrameType.END, 8)).stream == 8
    await connected.peer.grant(6, STREAM_CREDIT_BYTES)
    while got < size:
        got += len((await connected.peer.next(FrameType.DATA, 6)).payload)
    await connected.peer.next(FrameType.END, 6)


async def test_T5_a_ping_is_answered(connected: Connected) -> None:
    await connected.peer.send(Frame(FrameType.PING))
    await connected.peer.next(FrameType.PONG)


async def test_T5_silence_is_asked_about_and_then_taken_for_death(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "DEAD_IDLE_S", 0.5)
    monkeypatch.setattr(heartbeat, "SUSPECT_S", 0.3)
    # Any frame lets the node look at the clock with the new limits.
    await connected.peer.send(Frame(FrameType.PING))
    await connected.peer.next(FrameType.PING)
    await connected.server.peer()


async def test_T2_the_node_comes_back(connected: Connected) -> None:
    peer = connected.peer
    for _ in range(3):
        await peer.websocket.close()
        peer = await connected.server.peer()
    await peer.open(4, "GET", "/healthz")
    await peer.send(Frame(FrameType.END, 4))
    assert (await peer.response(4))[0] == 200


BROKEN: dict[str, Frame | bytes] = {
    "no frame": b"\x00\x01",
    "another version": b"\x09" * 28,
    "a stream that is not there": Frame(FrameType.DATA, 10, b"x"),
    "an odd stream": Frame(FrameType.OPEN, 5, b""),
    "a second welcome": Frame(FrameType.WELCOME, payload=b""),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_server_that_breaks_the_protocol_is_left_and_tried_again(connected: Connected, name: str) -> None:
    message = BROKEN[name]
    if isinstance(message, Frame):
        await connected.peer.send(message)
    else:
        await connected.peer.websocket.send(message)
    await connected.server.peer()
    assert (await connected.node.http.get(f"{connected.node.url}/healthz")).is_success


async def test_what_can_not_be_read_is_refused_and_costs_nothing_else(connected: Connected) -> None:
    for poke in (b"\xc1", msgspec.msgpack.encode(PokePayload("../..", 1))):
        await connected.peer.send(Frame(FrameType.POKE, payload=poke))
    await connected.peer.send(Frame(FrameType.OPEN, 4, b"\xc1"))
    reset = await connected.peer.next(FrameType.RESET, 4)
    assert msgspec.msgpack.decode(reset.payload, type=ResetPayload).code == "bad_request"
    await connected.peer.open(6, "GET", "/healthz")
    await connected.peer.send(Frame(FrameType.END, 6))
    assert (await connected.peer.response(6))[0] == 200


async def test_a_refused_node_keeps_trying(connected: Connected) -> None:
    peer = connected.peer
    for code in ("node_unknown", "something_newer"):
        await peer.send(Frame(FrameType.GOAWAY, payload=msgspec.msgpack.encode(ResetPayload(code))))
        peer = await connected.server.peer()


async def test_T6_the_status_is_told_when_it_changes(connected: Connected, script: Script) -> None:
    script.held = True
    for _ in range(2):
        assert (await connected.node.post(connected.node.request())).status_code == 200

    async def queue() -> int:
        frame = await connected.peer.next(FrameType.STATUS)
        return msgspec.msgpack.decode(frame.payload, type=NodeStatus).queue

    while await queue() != 1:
        pass
    script.finish()
    while await queue() != 0:
        pass
