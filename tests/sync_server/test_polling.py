"""Long polling at the real server's door, request by request (rule N15)."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from shared.errors import Code
from shared.tunnel.events import Ended, Opened
from shared.tunnel.frames import decode, encode
from shared.tunnel.handshake import hello, settle
from shared.tunnel.payloads import OpenRequest, OpenResponse, unpack, write
from shared.tunnel.session import Session
from shared.tunnel.table import Side
from tests.sync_server.device import Device, code_of
from tests.sync_server.fake_node import WITHIN_S, Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sync_server.running_server import RunningServer

KEY = "domovoi-transport"


class Poller:
    """A node that polls by hand."""

    def __init__(self, server: RunningServer, identity: Identity) -> None:
        self.http = httpx.AsyncClient(base_url=server.client().base_url, trust_env=False, timeout=WITHIN_S)
        self.session = Session(os.urandom(16).hex(), Side.NODE, time.monotonic())
        self.key = {KEY: ""}
        self._identity = identity
        self._epoch = 0

    async def greet(self, epoch: int, assertion: str | None = None) -> httpx.Response:
        """Send a HELLO."""
        frame = hello(self.session, epoch, [], self._identity.assertion() if assertion is None else assertion)
        return await self.http.post("/tunnel/up", content=encode(frame))

    def welcomed(self, response: httpx.Response, epoch: int) -> None:
        """Take the answer to HELLO."""
        (welcome,) = decode(response.content)
        self.key = {KEY: response.headers[KEY]}
        self._epoch = epoch
        self.session = settle(self.session, self.session.identifier, epoch, welcome, time.monotonic())

    async def up(self) -> None:
        """Post what there is to say."""
        while body := self.session.outgoing(time.monotonic()):
            response = await self.http.post("/tunnel/up", content=body, headers=self.key)
            self.session.receive(self._epoch, decode(response.content), time.monotonic())

    async def down(self) -> httpx.Response:
        """Ask for more, and take it."""
        query = {"epoch": self._epoch, "last_rx": self.session.take_poll()}
        response = await self.http.get("/tunnel/down", params=query, headers=self.key)
        self.session.receive(self._epoch, decode(response.content), time.monotonic())
        return response


@pytest.fixture
async def poller(shared_server: RunningServer, identity: Identity) -> AsyncIterator[Poller]:
    poller = Poller(shared_server, identity)
    async with poller.http:
        yield poller
        poller.session.close()
        await poller.up()


async def test_N15_a_call_goes_through_posts_and_polls(poller: Poller, identity: Identity, device: Device) -> None:
    poller.welcomed(await poller.greet(1), 1)
    asked = asyncio.create_task(asyncio.to_thread(device.request, "GET", f"/relay/{identity.node_id}/v1/keys"))
    events: list[object] = []
    async with asyncio.timeout(WITHIN_S):
        while not any(isinstance(event, Ended) for event in events):
            await poller.down()
            events += poller.session.take_events()
    (opened,) = [event for event in events if isinstance(event, Opened)]
    assert unpack(opened.payload, OpenRequest).path == "/v1/keys"
    streams = poller.session.streams
    streams.answer(opened.stream, write(OpenResponse(200, [("content-type", "application/json")])))
    streams.write(opened.stream, b'{"ok": true}')
    streams.finish(opened.stream)
    await poller.up()
    assert (await asked).json() == {"ok": True}


async def test_N15_a_hello_that_is_sent_again_is_the_same_transport(poller: Poller) -> None:
    first, second = await poller.greet(1), await poller.greet(1)
    assert first.content == second.content
    assert first.headers[KEY] == second.headers[KEY]


async def test_N13_an_older_transport_is_turned_away_and_a_newer_one_ends_the_poll(poller: Poller) -> None:
    poller.welcomed(await poller.greet(5), 5)
    assert (await poller.greet(4)).status_code == 410
    old = dict(poller.key)
    held = asyncio.create_task(poller.http.get("/tunnel/down", params={"last_rx": 0}, headers=old))
    # It is held by now, or comes too late: either way it ends.
    poller.welcomed(await poller.greet(6), 6)
    async with asyncio.timeout(WITHIN_S):
        assert (await held).status_code in {204, 410}
    assert (await poller.http.get("/tunnel/down", params={"last_rx": 0}, headers=old)).status_code == 410


async def test_K6_polling_asks_for_a_fresh_login(poller: Poller, identity: Identity) -> None:
    used = identity.assertion()
    assert (await poller.greet(1, used)).status_code == 200
    assert code_of(await poller.greet(2, used)) == (401, Code.TOKEN_INVALID)
    assert code_of(await poller.greet(2, Identity().assertion())) == (404, Code.NODE_UNKNOWN)
    assert code_of(await poller.http.post("/tunnel/up", content=b"<html>")) == (400, Code.BAD_REQUEST)
    assert msgspec.json.decode((await poller.greet(2, "")).content)["code"] == Code.TOKEN_INVALID
