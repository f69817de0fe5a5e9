"""The session over real sockets: WebSocket and long polling, and a network that is against it (rules N)."""

from __future__ import annotations

import asyncio
import hashlib
from random import Random
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.errors import Code, DomovoiError
from shared.tunnel.machine import State
from tests.tunnel.fault_proxy import Mode
from tests.tunnel.home import NODE_ID, WITHIN_S, Home, home

if TYPE_CHECKING:
    from sync_server.tunnel.call import Call

MEGABYTE = 1024 * 1024


def expected(size: int, seed: int) -> bytes:
    """Return the bytes of /v1/bytes."""
    random, pieces = Random(seed), []
    while size:
        pieces.append(random.randbytes(min(size, 10_000)))
        size -= len(pieces[-1])
    return b"".join(pieces)


async def whole(place: Home, size: int, seed: int) -> None:
    """Ask for so many bytes, and hold them against what was sent."""
    body = await place.get("/v1/bytes", f"size={size}&seed={seed}")
    assert hashlib.sha256(body).digest() == hashlib.sha256(expected(size, seed)).digest()


async def read_on(call: Call) -> int:
    """Read a call to its end, and return how many bytes there were."""
    return sum([len(chunk) async for chunk in call.chunks()])


@pytest.mark.parametrize("mode", [Mode.OPEN, Mode.WEBSOCKETS_REFUSED])
async def test_N8_calls_go_both_ways_over_either_transport(mode: Mode) -> None:
    async with home() as place:
        place.proxy.mode = mode
        place.start_node()
        await place.until_in(State.WS_UP if mode is Mode.OPEN else State.LP_UP)
        body = Random(5).randbytes(2 * MEGABYTE)
        call = place.call("POST", "/v1/hash")
        async with asyncio.timeout(WITHIN_S):
            await call.send(body)
            call.end()
            assert (await call.head()).status == 200
            answer = b"".join([chunk async for chunk in call.chunks()])
        assert answer.decode() == hashlib.sha256(body).hexdigest()
        async with asyncio.TaskGroup() as calls:
            for seed in range(10):
                calls.create_task(whole(place, 300_000, seed))


async def test_N9_an_event_that_was_given_up_half_way_is_the_last_of_its_call() -> None:
    """A stream pings beside what it says: a ping after half of an event would be taken for the rest of it."""
    async with home() as place:
        place.start_node()
        await place.until_in(State.WS_UP)
        call = place.call("GET", "/v1/broken")
        call.end()
        await call.head()
        place.remote.gives_up.set()
        # Nobody has read, so there was no credit for all of it.
        await place.until(lambda: not place.remote.gives_up.is_set())
        with pytest.raises(DomovoiError):
            await read_on(call)


async def test_N14_swallowed_websockets_are_not_waited_for() -> None:
    async with home() as place:
        place.proxy.mode = Mode.WEBSOCKETS_SWALLOWED
        place.start_node()
        await place.until_in(State.LP_UP)
        await whole(place, 200_000, 1)


@pytest.mark.parametrize("mode", [Mode.OPEN, Mode.WEBSOCKETS_REFUSED])
async def test_N7_connections_that_break_in_mid_stream_cost_no_byte(mode: Mode) -> None:
    async with home() as place:
        place.proxy.mode = mode
        place.start_node()
        await place.until_in(State.WS_UP, State.LP_UP)
        streams = [asyncio.create_task(whole(place, 3 * MEGABYTE, seed)) for seed in range(3)]
        events = asyncio.create_task(place.get("/v1/events", "count=300"))
        for _ in range(4):
            await place.until_in(State.WS_UP, State.LP_UP)
            before = place.proxy.connections
            place.proxy.cut()
            await place.until(lambda before=before: place.proxy.connections > before)  # type: ignore[misc]
        await asyncio.gather(*streams)
        assert await events == b"".join(b"id: %d\n\n" % number for number in range(300))


async def test_N14_websockets_that_are_cut_after_64_kilobytes_end_in_polling() -> None:
    async with home() as place:
        place.proxy.most_bytes = 64 * 1024
        place.start_node()
        await place.until_in(State.WS_UP)
        await whole(place, MEGABYTE, 3)
        await place.until_in(State.LP_UP)


async def test_N13_the_session_moves_to_a_websocket_in_mid_stream() -> None:
    async with home() as place:
        place.proxy.mode = Mode.WEBSOCKETS_REFUSED
        place.start_node()
        await place.until_in(State.LP_UP)
        events = asyncio.create_task(place.get("/v1/events", "count=300"))
        stream = asyncio.create_task(whole(place, 2 * MEGABYTE, 7))
        place.proxy.mode = Mode.OPEN
        place.client.network_changed()
        await place.until_in(State.WS_UP)
        await stream
        assert await events == b"".join(b"id: %d\n\n" % number for number in range(300))


@pytest.mark.parametrize("mode", [Mode.OPEN, Mode.WEBSOCKETS_REFUSED])
async def test_N12_a_node_that_wakes_up_finds_out_in_3_s_and_goes_on(mode: Mode) -> None:
    async with home() as place:
        place.proxy.mode = mode
        place.start_node()
        await place.until_in(State.WS_UP, State.LP_UP)
        events = asyncio.create_task(place.get("/v1/events", "count=200"))
        await place.until(lambda: place.remote.events > 20)
        place.proxy.freeze()
        before = place.proxy.connections
        place.client.network_changed()
        started = asyncio.get_running_loop().time()
        await place.until(lambda: place.welcomes == 2)
        assert asyncio.get_running_loop().time() - started < 10, "silence was not asked about"
        assert place.proxy.connections > before
        assert await events == b"".join(b"id: %d\n\n" % number for number in range(200))


async def test_N14_a_captive_portal_is_no_server() -> None:
    async with home() as place:
        place.proxy.mode = Mode.PORTAL
        place.start_node()
        await place.until(lambda: place.proxy.connections > 3)
        assert place.hub.find(NODE_ID) is None
        place.proxy.mode = Mode.OPEN
        place.client.network_changed()
        await place.until_in(State.WS_UP)
        await whole(place, 1000, 1)


@pytest.mark.parametrize("mode", [Mode.OPEN, Mode.WEBSOCKETS_REFUSED])
async def test_N14_a_denied_node_stops_until_it_is_paired_anew(mode: Mode) -> None:
    async with home() as place:
        place.proxy.mode = mode
        place.refused = Code.NODE_UNKNOWN
        place.start_node()
        await place.until(lambda: place.client.state is State.AUTH_STOP)
        await place.until(lambda: place.denials == 1)
        place.refused = None
        place.client.credentials_changed()
        await place.until_in(State.WS_UP, State.LP_UP)


@pytest.mark.parametrize("mode", [Mode.OPEN, Mode.WEBSOCKETS_REFUSED])
async def test_N8_a_caller_that_goes_cancels_the_call(mode: Mode) -> None:
    async with home() as place:
        place.proxy.mode = mode
        place.start_node()
        await place.until_in(State.WS_UP, State.LP_UP)
        call = place.call("GET", "/v1/bytes", f"size={100 * MEGABYTE}&seed=1")
        call.end()
        await call.head()
        call.abandon()
        async with asyncio.timeout(WITHIN_S):
            await place.remote.left.wait()


async def test_N9_a_slow_reader_costs_the_node_its_credit_and_nobody_else_anything() -> None:
    async with home() as place:
        place.start_node()
        await place.until_in(State.WS_UP)
        slow = place.call("GET", "/v1/bytes", f"size={100 * MEGABYTE}&seed=1")
        slow.end()
        await slow.head()
        before = -1
        while before != place.remote.written:
            before = place.remote.written
            await asyncio.sleep(0.2)
        assert before <= 256 * 1024 + 64 * 1024 + 10_000
        await whole(place, MEGABYTE, 2)
        slow.abandon()


async def test_N13_a_server_that_restarted_ends_the_calls_and_is_found_again() -> None:
    async with home() as place:
        place.start_node()
        await place.until_in(State.WS_UP)
        call = place.call("GET", "/v1/bytes", f"size={100 * MEGABYTE}&seed=1")
        call.end()
        await call.head()
        await place.stop_server()
        await place.start_server()
        await place.until_in(State.WS_UP, State.LP_UP)
        # The node heard that its session is no more.
        async with asyncio.timeout(WITHIN_S):
            await place.remote.left.wait()
        await whole(place, MEGABYTE, 2)


async def test_N8_a_node_that_stops_ends_its_calls_at_once() -> None:
    async with home() as place:
        place.start_node()
        await place.until_in(State.WS_UP)
        call = place.call("GET", "/v1/bytes", f"size={100 * MEGABYTE}&seed=1")
        call.end()
        await call.head()
        await place.stop_node()
        with pytest.raises(DomovoiError) as ended:
            await asyncio.wait_for(read_on(call), 5)
        assert ended.value.code is Code.NODE_UNREACHABLE
        assert place.hub.find(NODE_ID) is None


async def test_N16_status_and_pokes_come_through_and_are_told_anew() -> None:
    async with home() as place:
        place.start_node()
        await place.until_in(State.WS_UP)
        link = place.hub.find(NODE_ID)
        assert link is not None
        link.poke("ab", 5)
        await place.until(lambda: place.statuses == [b"status 1"])
        await place.until(lambda: [poke.head for poke in place.pokes] == [5])
        place.proxy.cut()
        await place.until(lambda: place.statuses[-1] == b"status 2")


async def test_N15_strangers_get_nothing() -> None:
    async with home() as place:
        place.proxy.mode = Mode.WEBSOCKETS_REFUSED
        place.start_node()
        await place.until_in(State.LP_UP)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{place.proxy.target}") as stranger:
            for key in ("", "0" * 32, f"{NODE_ID.hex()}.", f"{NODE_ID.hex()}.{'0' * 32}", "xyz"):
                headers = {"Domovoi-Transport": key}
                assert (await stranger.get("/tunnel/down", params={"last_rx": 0}, headers=headers)).status_code == 410
                assert (await stranger.post("/tunnel/up", content=b"x", headers=headers)).status_code == 410
            for body in (b"", b"<html>", bytes(28)):
                assert (await stranger.post("/tunnel/up", content=body)).status_code == 400
            assert (await stranger.post("/tunnel/up", content=bytes(300_000))).status_code == 413
            assert (await stranger.get("/tunnel/down")).status_code == 400
        await whole(place, 1000, 1)
