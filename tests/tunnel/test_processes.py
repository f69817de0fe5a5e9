"""The server in a process of its own: stopped, killed, started again, and read from slowly."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from inference_node.tunnel.client import Client
from shared.tunnel.machine import State
from tests.structure.tracked import ROOT
from tests.tunnel.home import WITHIN_S, Remote
from tests.tunnel.test_tunnel import MEGABYTE, expected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.tunnel.payloads import PokePayload


class Quiet:
    """A node that logs in anyhow and has nothing to say."""

    def assertion(self) -> str:
        return "token"

    def welcomed(self) -> None:
        pass

    def poked(self, poke: PokePayload) -> None:
        pass

    def denied(self) -> None:
        pass


class Processes:
    """A node here, and the server's process."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.remote = Remote()
        self.http = httpx.AsyncClient(base_url=self.url, timeout=WITHIN_S, trust_env=False)
        self.client = Client(self.url, self.remote.application, Quiet(), Random(1))
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "tests.tunnel.server_process", str(self.port)], cwd=ROOT)

    async def kill_and_start_again(self) -> None:
        self.process.kill()
        await asyncio.to_thread(self.process.wait)
        self.process = self._start()

    async def until_connected(self) -> None:
        """Wait until a call comes through."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    if (await self.http.get("/relay/v1/bytes", params={"size": 1, "seed": 1})).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def whole(self, size: int, seed: int) -> None:
        response = await self.http.get("/relay/v1/bytes", params={"size": size, "seed": seed})
        assert hashlib.sha256(response.content).digest() == hashlib.sha256(expected(size, seed)).digest()


@asynccontextmanager
async def processes() -> AsyncIterator[Processes]:
    place = Processes()
    running = asyncio.create_task(place.client.run())
    try:
        await place.until_connected()
        yield place
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await place.http.aclose()
        place.process.kill()
        await asyncio.to_thread(place.process.wait)


async def test_N7_a_server_that_was_stopped_for_a_while_goes_on_where_it_was() -> None:
    async with processes() as place:
        streams = [asyncio.create_task(place.whole(2 * MEGABYTE, seed)) for seed in range(3)]
        await asyncio.sleep(0.1)
        place.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1)
        place.process.send_signal(signal.SIGCONT)
        await asyncio.gather(*streams)


async def test_N13_a_killed_server_ends_its_calls_and_the_node_finds_the_next() -> None:
    async with processes() as place:
        for _ in range(2):
            stream = asyncio.create_task(place.whole(100 * MEGABYTE, 1))
            place.remote.left.clear()
            written = place.remote.written
            while place.remote.written < written + MEGABYTE:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await place.kill_and_start_again()
            with pytest.raises(httpx.TransportError):
                await stream
            async with asyncio.timeout(WITHIN_S):
                await place.remote.left.wait()
            await place.until_connected()
            await place.whole(MEGABYTE, 2)
        assert place.client.state in {State.WS_UP, State.LP_UP}


async def test_N9_slow_readers_cost_the_server_no_memory() -> None:
    async with processes() as place:
        await place.whole(4 * MEGABYTE, 1)
        server = psutil.Process(place.process.pid)
        before = server.memory_info().rss
        opened = [
            place.http.build_request("GET", "/relay/v1/bytes", params={"size": 100 * MEGABYTE, "seed": seed})
            for seed in range(6)
        ]
        responses = [await place.http.send(request, stream=True) for request in opened]
        # Somebody else reads on, though six have stopped.
        await place.whole(4 * MEGABYTE, 2)
        # Six times what a socket takes, and never more credit than the session's.
        assert server.memory_info().rss - before < 24 * MEGABYTE
        for response in responses:
            await response.aclose()
        await place.whole(MEGABYTE, 3)
