from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.limits import MAX_SEALED_BYTES
from shared.sealing import SEALED
from shared.tunnel.limits import STREAM_CREDIT_BYTES
from tests.sync_server.device import Device, code_of
from tests.sync_server.fake_node import WITHIN_S, FakeNode, Identity, NodeCall, connected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sync_server.running_server import RunningServer

EVENTS = "text/event-stream; charset=utf-8"


def path_of(identity: Identity, path: str) -> str:
    return f"/relay/{identity.node_id}{path}"


def client_of(device: Device) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=device.http.base_url, trust_env=False, timeout=WITHIN_S, headers=dict(device.bearer)
    )


async def test_T3_H6_a_call_goes_to_the_node_and_back(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    seen: list[NodeCall] = []
    bodies: list[bytes] = []

    async def answer(call: NodeCall) -> None:
        seen.append(call)
        bodies.append(await call.body())
        await call.respond(202, "application/json", set_cookie="a=b", content_security_policy="none", retry_after="3")
        await call.write(b'{"ok":')
        await call.write(b"true}")
        await call.end()

    body = bytes(3 * STREAM_CREDIT_BYTES)
    headers = {
        "content-type": SEALED,
        "cookie": "secret=1",
        "domovoi-node-token": "what no node needs outside of the seal",
        "last-event-id": "x:1",
    }
    async with connected(shared_server.websocket_url, identity, answer), client_of(device) as http:
        response = await http.post(path_of(identity, "/v1/sealed?after=3"), content=body, headers=headers)
    assert (response.status_code, response.json()) == (202, {"ok": True})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["retry-after"] == "3"
    assert "set-cookie" not in response.headers, "a node sets nothing under the server's origin"
    assert "script-src" in response.headers["content-security-policy"]
    request = seen[0].request
    assert (request.method, request.path, request.query) == ("POST", "/v1/sealed", "")
    sent = dict(request.headers)
    assert sent["content-type"] == SEALED
    assert set(sent) <= {"accept", "content-length", "content-type"}
    assert bodies == [body]


async def test_T4_a_long_response_arrives_whole(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    pieces = [bytes([number]) * 50_000 for number in range(60)]

    async def answer(call: NodeCall) -> None:
        await call.respond(200, "application/octet-stream")
        for piece in pieces:
            await call.write(piece)
        await call.end()

    async with connected(shared_server.websocket_url, identity, answer), client_of(device) as http:
        responses = await asyncio.gather(*(http.get(path_of(identity, "/v1/keys")) for _ in range(3)))
    whole = hashlib.sha256(b"".join(pieces)).digest()
    assert [hashlib.sha256(response.content).digest() for response in responses] == [whole] * 3


async def test_S3_events_arrive_one_by_one(shared_server: RunningServer, identity: Identity, device: Device) -> None:
    heard = asyncio.Event()

    async def answer(call: NodeCall) -> None:
        await call.respond(200, EVENTS)
        await call.write(b"data: 1\n\n")
        await heard.wait()
        await call.write(b"data: 2\n\n")
        await call.end()

    async with (
        connected(shared_server.websocket_url, identity, answer),
        client_of(device) as http,
        http.stream("GET", path_of(identity, "/v1/keys")) as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == "data: 1"
        heard.set()
        assert [line async for line in lines if line] == ["data: 2"]


async def test_T3_a_caller_that_goes_resets_the_call(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    calls: asyncio.Queue[NodeCall] = asyncio.Queue()

    async def answer(call: NodeCall) -> None:
        calls.put_nowait(call)
        await call.respond(200, EVENTS)
        await call.write(b"data: 1\n\n")

    async with (
        connected(shared_server.websocket_url, identity, answer),
        client_of(device) as http,
        http.stream("GET", path_of(identity, "/v1/keys")) as response,
    ):
        await anext(response.aiter_lines())
        call = await calls.get()
        async with asyncio.timeout(WITHIN_S):
            await call.is_reset.wait()


async def test_T4_a_slow_reader_costs_the_node_credit_and_the_server_nothing(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    calls: asyncio.Queue[NodeCall] = asyncio.Queue()
    size = 16 * 1024 * 1024

    async def answer(call: NodeCall) -> None:
        await call.respond(200, "application/octet-stream")
        calls.put_nowait(call)
        await call.write(bytes(size))
        await call.end()

    async with (
        connected(shared_server.websocket_url, identity, answer) as node,
        client_of(device) as http,
        http.stream("GET", path_of(identity, "/v1/keys")) as response,
    ):
        call = await calls.get()
        # What the sockets between here and there hold, and not a byte more than one stream's credit.
        sent = -1
        while sent != call.sent:
            sent = call.sent
            for _ in range(20):
                await node.send_and_wait_for_pong()
        assert sent < size
        assert sum([len(chunk) async for chunk in response.aiter_raw()]) == size


async def test_a_node_that_goes_ends_an_event_stream_cleanly(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    async def answer(call: NodeCall) -> None:
        await call.respond(200, EVENTS)
        await call.write(b"data: 1\n\n")

    async with (
        client_of(device) as http,
        connected(shared_server.websocket_url, identity, answer) as node,
        http.stream("GET", path_of(identity, "/v1/keys")) as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == "data: 1"
        await node.leave()
        assert [line async for line in lines if line] == []


async def test_a_node_that_goes_leaves_no_other_body_looking_complete(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    async def answer(call: NodeCall) -> None:
        await call.respond(200, "application/json")
        await call.write(b"[1, 2]")

    async with (
        client_of(device) as http,
        connected(shared_server.websocket_url, identity, answer) as node,
        http.stream("GET", path_of(identity, "/v1/keys")) as response,
    ):
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"[1, 2]"
        await node.leave()
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(chunks)


async def test_a_call_that_the_node_resets_is_a_problem(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    async def answer(call: NodeCall) -> None:
        await call.reset("engine_busy")

    async with connected(shared_server.websocket_url, identity, answer), client_of(device) as http:
        response = await http.get(path_of(identity, "/v1/keys"))
    assert code_of(response) == (503, "engine_busy")


# With a word, or without one: then it may be changing its transport, and is waited for a little.
@pytest.mark.parametrize("go", [FakeNode.leave, lambda node: node.websocket.close()], ids=["leaves", "vanishes"])
async def test_a_node_that_goes_before_it_answers_is_unreachable(
    shared_server: RunningServer, identity: Identity, device: Device, go: Callable[[FakeNode], Awaitable[None]]
) -> None:
    called = asyncio.Event()

    async def answer(_: NodeCall) -> None:
        called.set()

    async with client_of(device) as http, connected(shared_server.websocket_url, identity, answer) as node:
        response = asyncio.create_task(http.get(path_of(identity, "/v1/keys")))
        await called.wait()
        await go(node)
        assert code_of(await response) == (503, "node_unreachable")


async def test_revoking_the_device_closes_its_calls(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    calls: asyncio.Queue[NodeCall] = asyncio.Queue()

    async def answer(call: NodeCall) -> None:
        calls.put_nowait(call)
        await call.respond(200, EVENTS)
        await call.write(b"data: 1\n\n")

    other = await asyncio.to_thread(device.sibling)
    async with (
        connected(shared_server.websocket_url, identity, answer),
        client_of(other) as http,
        http.stream("GET", path_of(identity, "/v1/keys")) as response,
    ):
        chunks = response.aiter_raw()
        await anext(chunks)
        await asyncio.to_thread(device.request, "DELETE", f"/api/v1/devices/{other.session.device_id}")
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(chunks)
        async with asyncio.timeout(WITHIN_S):
            await (await calls.get()).is_reset.wait()


def test_a_node_that_is_away_is_unreachable_since_a_time(identity: Identity, device: Device) -> None:
    response = device.request("GET", path_of(identity, "/v1/keys"))
    assert code_of(response) == (503, "node_unreachable")
    # The tests before have said goodbye in its name.
    assert "Domovoi was closed on the PC at" in response.json()["detail"]
    assert "UTC" in response.json()["detail"]


def test_only_nodes_of_the_account_and_only_with_a_token(identity: Identity, device: Device) -> None:
    assert code_of(device.request("GET", f"/relay/{'0' * 32}/healthz")) == (404, "node_unknown")
    assert code_of(device.request("GET", "/relay/x/healthz")) == (404, "node_unknown")
    assert code_of(device.http.get(path_of(identity, "/healthz"))) == (401, "token_missing")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/v1",
        "/v1/",
        "/v1/status",
        "/v1/answers",
        "/v1/keys/1",
        "/v1/sealed/",
        "/healthz/",
        "/v1//x",
        "/v1/../metrics",
        "/v1/%2e%2e/x",
        "/v1%2Fsealed",
        "/v1/s%65aled",
        "/V1/status",
        "/v1/.b",
        "/v1/x/..",
        "/v1/..x",
    ],
)
def test_H6_only_the_remote_applications_paths(identity: Identity, device: Device, path: str) -> None:
    assert code_of(device.request("GET", path_of(identity, path))) == (404, "not_found")


async def test_a_body_over_the_limit_is_refused(
    shared_server: RunningServer, identity: Identity, device: Device
) -> None:
    async def answer(call: NodeCall) -> None:
        await call.body()

    async def endless() -> object:
        for _ in range(MAX_SEALED_BYTES // 65_536 + 2):
            yield bytes(65_536)

    async with connected(shared_server.websocket_url, identity, answer), client_of(device) as http:
        path = path_of(identity, "/v1/sealed")
        declared = await http.post(path, content=bytes(MAX_SEALED_BYTES + 1))
        assert code_of(declared) == (413, "body_too_large")
        streamed = await http.post(path, content=endless())  # type: ignore[arg-type]
        assert code_of(streamed) == (413, "body_too_large")
