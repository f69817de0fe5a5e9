"""The node's end of the tunnel against a server that plays every part by hand (rules T1-T6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from shared.node_status import NodeStatus
from shared.tunnel import heartbeat, machine
from shared.tunnel.frames import Frame, FrameType
from shared.tunnel.limits import STREAM_CREDIT_BYTES
from shared.tunnel.payloads import PokePayload, ResetPayload
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
        yield Connected(server, node, await server.peer())
        await node.stop()


def headers_of(node: RunningNode) -> dict[str, str]:
    return {
        "domovoi-node-token": node.authority.token(node.account),
        "content-type": "application/msgpack",
        "accept": "application/msgpack",
    }


async def start(connected: Connected, stream: int) -> bytes:
    """Start an answer through the tunnel."""
    body = connected.node.request()
    await connected.peer.open(stream, "POST", "/v1/answers", headers_of(connected.node))
    await connected.peer.send(Frame(FrameType.DATA, stream, msgspec.msgpack.encode(body)), Frame(FrameType.END, stream))
    status, _ = await connected.peer.response(stream)
    assert status == 200
    return body.answer


async def test_T2_hello_carries_the_nodes_login(connected: Connected) -> None:
    assert connected.peer.hello.token.count(".") == 2
    status = msgspec.msgpack.decode((await connected.peer.next(FrameType.STATUS)).payload, type=NodeStatus)
    assert status.name == "Test PC"


async def test_T3_a_call_is_answered_on_its_stream(connected: Connected) -> None:
    await connected.peer.open(2, "GET", "/healthz")
    await connected.peer.send(Frame(FrameType.END, 2))
    status, body = await connected.peer.response(2)
    assert (status, body) == (200, b'{"engine_state":"ready"}')


async def test_T3_the_token_is_asked_for(connected: Connected) -> None:
    for number, headers in enumerate(({}, {"authorization": connected.node.bearer["Authorization"]}), 1):
        await connected.peer.open(2 * number, "GET", "/v1/status", headers)
        await connected.peer.send(Frame(FrameType.END, 2 * number))
        status, body = await connected.peer.response(2 * number)
        assert status == 401
        assert b"token_missing" in body


async def test_T3_a_reset_ends_the_call_and_not_the_run(connected: Connected, script: Script) -> None:
    script.held = True
    answer = await start(connected, 2)
    await connected.peer.open(4, "GET", f"/v1/answers/{answer.hex()}/events", headers_of(connected.node))
    await connected.peer.send(Frame(FrameType.END, 4))
    await connected.peer.next(FrameType.DATA, 4)
    await connected.peer.send(Frame(FrameType.RESET, 4, msgspec.msgpack.encode(ResetPayload("not_found"))))
    script.say("All the same.")
    script.finish()
    events = await connected.node.whole(answer)
    assert len(events) == 3


async def test_T4_no_more_is_sent_than_was_granted(connected: Connected, script: Script) -> None:
    script.held = True
    script.context = 100_000
    answer = await start(connected, 2)
    text = "x" * 80_000
    for start_at in range(0, len(text), 8000):
        script.say(text[start_at : start_at + 8000])
    script.finish()
    # Each text event is JSON, so the replay is longer than the text; twice over it passes any credit.
    expected = await connected.node.whole(answer)
    size = sum(len(raw) for _, _, raw in expected)
    assert size > 80_000
    number, received = 2, 0
    while received <= 2 * STREAM_CREDIT_BYTES:
        number += 2
        await connected.peer.open(number, "GET", f"/v1/answers/{answer.hex()}/events", headers_of(connected.node))
        await connected.peer.send(Frame(FrameType.END, number))
        _, body = await connected.peer.response(number)
        assert size <= len(body) <= STREAM_CREDIT_BYTES
        received += len(body)


async def test_T4_a_response_waits_for_credit(connected: Connected, script: Script) -> None:
    script.held = True
    answer = await start(connected, 2)
    for start_at in range(30):
        script.say(f"{start_at}" + "\u0001" * 2000)
    script.finish()
    expected = await connected.node.whole(answer)
    size = sum(len(raw) for _, _, raw in expected)
    assert size > STREAM_CREDIT_BYTES
    await connected.peer.open(4, "GET", f"/v1/answers/{answer.hex()}/events", headers_of(connected.node))
    await connected.peer.send(Frame(FrameType.END, 4))
    got = 0
    while got < STREAM_CREDIT_BYTES:
        got += len((await connected.peer.next(FrameType.DATA, 4)).payload)
    assert got == STREAM_CREDIT_BYTES
    # All that was granted is used up. Other calls pass.
    await connected.peer.open(6, "GET", "/healthz")
    await connected.peer.send(Frame(FrameType.END, 6))
    assert (await connected.peer.next(FrameType.END, 6)).stream == 6
    await connected.peer.grant(4, STREAM_CREDIT_BYTES)
    while got < size:
        got += len((await connected.peer.next(FrameType.DATA, 4)).payload)
    await connected.peer.next(FrameType.END, 4)


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
    await peer.open(2, "GET", "/healthz")
    await peer.send(Frame(FrameType.END, 2))
    assert (await peer.response(2))[0] == 200


BROKEN: dict[str, Frame | bytes] = {
    "no frame": b"\x00\x01",
    "another version": b"\x09" * 28,
    "a stream that is not there": Frame(FrameType.DATA, 8, b"x"),
    "an odd stream": Frame(FrameType.OPEN, 3, b""),
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
    await connected.peer.send(Frame(FrameType.OPEN, 2, b"\xc1"))
    reset = await connected.peer.next(FrameType.RESET, 2)
    assert msgspec.msgpack.decode(reset.payload, type=ResetPayload).code == "bad_request"
    await connected.peer.open(4, "GET", "/healthz")
    await connected.peer.send(Frame(FrameType.END, 4))
    assert (await connected.peer.response(4))[0] == 200


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
