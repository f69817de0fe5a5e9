from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from shared.tunnel import frames, heartbeat
from shared.tunnel.frames import Frame, FrameType
from shared.tunnel.payloads import HelloPayload, PokePayload, ResetPayload, WelcomePayload
from shared.wire import Grant, NodeSession
from sync_server.nodes import tunnels
from tests.sync_server.device import Device, code_of
from tests.sync_server.event_stream import events_of
from tests.sync_server.fake_node import WITHIN_S, FakeNode, Identity, connected, say_hello

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sync_server.running_server import RunningServer, StartServer


def node_row(device: Device, identity: Identity) -> dict[str, object]:
    rows = device.request("GET", "/api/v1/nodes").json()["nodes"]
    return next(row for row in rows if row["node_id"] == identity.node_id)


async def until_awake(device: Device, identity: Identity, awake: bool, departure: str | None = None) -> None:
    """Wait until presence says so, on the event stream, and how the node has gone if that is asked."""

    def is_it(node: dict[str, object]) -> bool:
        is_gone_so = departure is None or node["departure"] == departure
        return (node["node_id"], node["awake"], is_gone_so) == (identity.node_id, awake, True)

    def wait() -> None:
        with events_of(device) as events:
            while not any(is_it(node) for node in events.next("presence")["nodes"]):
                pass

    async with asyncio.timeout(WITHIN_S):
        await asyncio.to_thread(wait)


def login(http: httpx.Client, assertion: str, **more: object) -> httpx.Response:
    return http.post("/api/v1/auth/node", json={"assertion": assertion, **more})


def grant_of(response: httpx.Response, device: Device) -> Grant:
    session = msgspec.json.decode(response.content, type=NodeSession)
    return next(grant for grant in session.grants if grant.account_id == device.session.account_id)


# Logging in.


def test_K6_a_node_gets_a_working_token_for_each_account(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    grant = grant_of(login(shared_server.client(), identity.assertion()), device)
    device.write()
    headers = {"authorization": f"Bearer {grant.access_token}"}
    assert shared_server.client().get("/api/v1/sync/pull", headers=headers).json()["head"] == 1
    kinds = {row["device_id"]: row["kind"] for row in device.request("GET", "/api/v1/devices").json()["devices"]}
    assert kinds[grant.device_id] == "node"


def test_K6_an_assertion_works_once(shared_server: RunningServer, identity: Identity) -> None:
    assertion, http = identity.assertion(), shared_server.client()
    assert login(http, assertion).status_code == 200
    assert code_of(login(http, assertion)) == (401, "token_invalid")


def test_K6_only_a_fresh_assertion_of_a_known_node(shared_server: RunningServer, identity: Identity) -> None:
    http = shared_server.client()
    assert code_of(login(http, Identity().assertion())) == (404, "node_unknown")
    assert code_of(login(http, identity.assertion(iss=Identity().node_id))) == (401, "token_invalid")
    assert code_of(login(http, identity.assertion(aud="sync"))) == (401, "token_invalid")
    assert code_of(login(http, identity.assertion(iat=0, nbf=0, exp=60))) == (401, "token_expired")
    assert code_of(login(http, "no token")) == (401, "token_invalid")


def test_L8_a_forked_node_becomes_a_new_device_once_and_nobody_else_does(
    shared_server: RunningServer, identity: Identity, device: Device, stranger: Device
) -> None:
    http = shared_server.client()
    first = login(http, identity.assertion())
    forked, untouched = grant_of(first, device).device_id, grant_of(first, stranger).device_id
    named = [forked, device.session.device_id, "0" * 16]
    second = login(http, identity.assertion(), forked=named)
    assert grant_of(second, device).device_id not in named
    assert grant_of(second, stranger).device_id == untouched
    new = grant_of(second, device).device_id
    third = login(http, identity.assertion(), forked=[forked])
    assert grant_of(third, device).device_id == new, "a login said twice changes nothing"
    rows = device.request("GET", "/api/v1/devices").json()["devices"]
    assert [row["device_id"] for row in rows if row["kind"] == "node"] == [new]
    device.write()


def test_a_login_with_ids_that_are_none_is_refused(shared_server: RunningServer, identity: Identity) -> None:
    response = login(shared_server.client(), identity.assertion(), forked=["no id"])
    assert code_of(response) == (400, "bad_request")


def test_a_node_may_come_before_the_first_account(start_server: StartServer) -> None:
    running = start_server()
    node = Identity()
    node.enrol(running.settings.data)
    assert login(running.client(), node.assertion()).json()["grants"] == []
    owner = running.first_account()
    assert node_row(owner, node)["name"] == node.name
    guest = running.new_account("Guest")
    grants = login(running.client(), node.assertion()).json()["grants"]
    assert {grant["account_id"] for grant in grants} == {owner.session.account_id, guest.session.account_id}


def test_enrolments_that_can_not_be_true_are_passed_over(start_server: StartServer) -> None:
    running = start_server()
    good, bad = Identity("Good"), Identity("Bad")
    bad.node_id = good.node_id[::-1]
    bad.enrol(running.settings.data)
    (running.settings.data / "enrolment" / "broken.json").write_text("{")
    good.enrol(running.settings.data)
    again = running.started_again()
    assert login(again.client(), good.assertion()).status_code == 200
    assert code_of(login(again.client(), bad.assertion())) == (404, "node_unknown")
    again.stop()


def test_revoking_a_nodes_device_ends_its_grant(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    grant = grant_of(login(shared_server.client(), identity.assertion()), device)
    assert device.request("DELETE", f"/api/v1/devices/{grant.device_id}").status_code == 204
    assert device.request("GET", "/api/v1/nodes").json()["nodes"] == []
    again = msgspec.json.decode(login(shared_server.client(), identity.assertion()).content, type=NodeSession)
    assert device.session.account_id not in {grant.account_id for grant in again.grants}
    asked = device.request("POST", "/api/v1/auth/token", json={"audience": f"node:{identity.node_id}"})
    assert code_of(asked) == (404, "node_unknown")


# The tunnel.


async def test_T2_presence_follows_the_tunnel(shared_server: RunningServer, identity: Identity, device: Device) -> None:
    def presence(awake: bool, model: str | None) -> None:
        while True:
            [node] = events.next("presence")["nodes"]
            if (node["awake"], (node["status"] or {}).get("model")) == (awake, model):
                return

    with events_of(device) as events:
        await asyncio.to_thread(presence, False, None)
        async with connected(shared_server.websocket_url, identity) as node:
            await asyncio.to_thread(presence, True, None)
            await node.status(model="smollm2")
            await asyncio.to_thread(presence, True, "smollm2")
        await asyncio.to_thread(presence, False, None)


async def test_T2_the_newest_connection_replaces_the_older(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    async with connected(shared_server.websocket_url, identity) as older:
        async with connected(shared_server.websocket_url, identity):
            async with asyncio.timeout(WITHIN_S):
                await older.websocket.wait_closed()
            assert older.websocket.close_code == 4000
            await until_awake(device, identity, True)
        await until_awake(device, identity, False)


@pytest.mark.parametrize("token", ["", "no token", "unknown", "replayed"])
async def test_T2_a_bad_hello_is_sent_away_with_its_code(
    shared_server: RunningServer, identity: Identity, token: str
) -> None:
    known = identity.assertion()
    await asyncio.to_thread(login, shared_server.client(), known)
    given = {"unknown": Identity().assertion(), "replayed": known}.get(token, token)
    async with connect(shared_server.websocket_url, proxy=None) as websocket:
        await say_hello(websocket, given)
        message = await websocket.recv()
        assert isinstance(message, bytes)
        [frame] = frames.decode(message)
        assert frame.type is FrameType.GOAWAY
        code = msgspec.msgpack.decode(frame.payload, type=ResetPayload).code
        assert code == ("node_unknown" if token == "unknown" else "token_invalid")
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 1008


@pytest.mark.parametrize(
    "message",
    [b"", b"x", b"\x02" + bytes(27), frames.encode(Frame(FrameType.PING)), "text", bytes(28), b"\x01\xff" + bytes(26)],
)
async def test_T1_what_is_no_hello_is_closed(shared_server: RunningServer, message: bytes | str) -> None:
    async with connect(shared_server.websocket_url, proxy=None) as websocket:
        await websocket.send(message)
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 1002


@pytest.mark.parametrize(
    "frame",
    [
        Frame(FrameType.HELLO),
        Frame(FrameType.DATA, stream=4, payload=b"x"),
        Frame(FrameType.DATA, stream=2_000_000, payload=b"x"),
        Frame(FrameType.OPEN),
        Frame(FrameType.WINDOW, payload=b"\xc1"),
    ],
)
async def test_N4_a_frame_out_of_place_ends_the_session(
    shared_server: RunningServer, identity: Identity, frame: Frame
) -> None:
    async with connected(shared_server.websocket_url, identity) as node:
        await node.send_frame(frame)
        await node.next_frame(FrameType.GOAWAY)
        async with asyncio.timeout(WITHIN_S):
            await node.websocket.wait_closed()
        assert node.websocket.close_code == 4000


async def test_T6_a_status_that_can_not_be_read_is_none(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    async with connected(shared_server.websocket_url, identity) as node:
        await node.send(FrameType.STATUS, payload=b"\xc1")
        await node.send_and_wait_for_pong()
        await until_awake(device, identity, True)
        assert node_row(device, identity)["status"] is None


async def test_T5_the_server_asks_for_life_and_gives_up(
    shared_server: RunningServer, identity: Identity, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "DEAD_IDLE_S", 0.5)
    monkeypatch.setattr(heartbeat, "SUSPECT_S", 0.3)
    async with connected(shared_server.websocket_url, identity) as node:
        for _ in range(3):
            await node.next_frame(FrameType.PING)
            await node.send(FrameType.PONG)
        await until_awake(device, identity, True)
        async with asyncio.timeout(WITHIN_S):
            await node.websocket.wait_closed()
    await until_awake(device, identity, False)


async def fall_silent(node: FakeNode) -> None:
    """Say nothing more, until the server gives it up."""
    async with asyncio.timeout(WITHIN_S):
        await node.websocket.wait_closed()


GOES: dict[str, Callable[[FakeNode], Awaitable[None]]] = {
    "stopped": FakeNode.leave,
    "lost": lambda node: node.websocket.close(),
    "silent": fall_silent,
}
WORDS = {"stopped": "Domovoi was closed on the PC", "lost": "connection broke", "silent": "it sleeps, or has no power"}


@pytest.mark.parametrize("departure", GOES)
async def test_T8_how_a_node_went_is_told_and_outlives_the_server(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, departure: str
) -> None:
    monkeypatch.setattr(tunnels, "CHANGING_S", 0.0)
    server, identity = start_server(), Identity()
    identity.enrol(server.settings.data)
    device = await asyncio.to_thread(server.first_account)
    async with connected(server.websocket_url, identity) as node:
        await until_awake(device, identity, True)
        assert node_row(device, identity)["departure"] is None
        # Silence is short this time; who comes back later has all the time.
        with monkeypatch.context() as patch:
            if departure == "silent":
                patch.setattr(heartbeat, "DEAD_IDLE_S", 0.5)
                patch.setattr(heartbeat, "SUSPECT_S", 0.3)
                # The server plans anew at each sign of life, of which this is the last.
                await node.send(FrameType.PING)
            await GOES[departure](node)
        await until_awake(device, identity, False, departure)
    refused = await asyncio.to_thread(device.request, "GET", f"/relay/{identity.node_id}/healthz")
    assert code_of(refused) == (503, "node_unreachable")
    assert WORDS[departure] in refused.json()["detail"]
    again = await asyncio.to_thread(server.started_again)
    assert node_row(device, identity)["departure"] == departure
    # Back again, and then nobody is there to see how it goes.
    async with connected(again.websocket_url, identity):
        await until_awake(device, identity, True)
        last = await asyncio.to_thread(again.started_again)
    assert node_row(device, identity)["departure"] is None
    refused = await asyncio.to_thread(device.request, "GET", f"/relay/{identity.node_id}/healthz")
    assert "asleep, off or without a network since" in refused.json()["detail"]
    last.stop()


async def test_T5_the_server_answers_a_ping(shared_server: RunningServer, identity: Identity) -> None:
    async with connected(shared_server.websocket_url, identity) as node:
        await node.send(FrameType.PING)
        await node.next_frame(FrameType.PONG)


async def test_T6_the_node_is_poked_when_a_log_moves(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    async with connected(shared_server.websocket_url, identity) as node:
        await until_awake(device, identity, True)
        await asyncio.to_thread(device.write)
        frame = await node.next_frame(FrameType.POKE)
        assert msgspec.msgpack.decode(frame.payload, type=PokePayload) == PokePayload(device.session.account_id, 1)


async def test_T6_the_node_is_told_of_a_new_account(shared_server: RunningServer, identity: Identity) -> None:
    async with connected(shared_server.websocket_url, identity) as node:
        made = await asyncio.to_thread(shared_server.new_account, f"Newcomer {id(node)}")
        frame = await node.next_frame(FrameType.POKE)
        assert msgspec.msgpack.decode(frame.payload, type=PokePayload).account_id == ""
        await asyncio.to_thread(made.write)
        frame = await node.next_frame(FrameType.POKE)
        assert msgspec.msgpack.decode(frame.payload, type=PokePayload) == PokePayload(made.session.account_id, 1)


async def test_a_page_may_not_open_a_tunnel(shared_server: RunningServer) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(shared_server.websocket_url, proxy=None, origin="https://evil.example")  # type: ignore[arg-type]
    assert refusal.value.response.status_code == 403


# Where a node is.


async def test_D4_who_shares_a_router_with_the_pc(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    def nodes_seen_from(address: str) -> dict[str, object]:
        answer = device.request("GET", "/api/v1/nodes", headers={"X-Forwarded-For": address})
        return next(row for row in answer.json()["nodes"] if row["node_id"] == identity.node_id)

    async with connected(shared_server.websocket_url, identity, address="93.184.216.34"):
        await until_awake(device, identity, True)
        assert nodes_seen_from("93.184.216.34")["same_nat"] is True
        assert nodes_seen_from("93.184.216.35")["same_nat"] is False
        assert nodes_seen_from("93.184.216.34")["transport"] == "websocket"
    await until_awake(device, identity, False)
    asleep = nodes_seen_from("93.184.216.34")
    assert (asleep["same_nat"], asleep["transport"]) == (False, None)


async def test_D4_a_node_is_told_where_it_is_seen_at(shared_server: RunningServer, identity: Identity) -> None:
    async with connected(shared_server.websocket_url, identity, address="93.184.216.34") as node:
        assert node.welcome.address == "93.184.216.34"
    async with httpx.AsyncClient(base_url=shared_server.url, trust_env=False) as polling:
        hello = HelloPayload("1" * 32, 1, 0, [], identity.assertion())
        content = frames.encode(Frame(FrameType.HELLO, payload=msgspec.msgpack.encode(hello)))
        answer = await polling.post("/tunnel/up", content=content, headers={"X-Forwarded-For": "2a01:4f8::1"})
        [welcome] = frames.decode(answer.content)
        assert msgspec.msgpack.decode(welcome.payload, type=WelcomePayload).address == "2a01:4f8::1"


async def test_D4_a_device_is_told_where_it_is_seen_at(shared_server: RunningServer, device: Device) -> None:
    def wait() -> None:
        with events_of(device) as events:
            assert events.next("hello")["address"] == device.http.headers["x-forwarded-for"]

    await asyncio.to_thread(wait)
