"""Long polling, where WebSockets do not get through: posts up, one request for more at a time down (rule N15)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from inference_node.server.server_api import is_remote
from inference_node.tunnel.transport import TransportError, denial
from shared.tunnel.frames import FrameError, FrameReader, decode
from shared.tunnel.limits import MAX_MESSAGE_BYTES, MAX_MESSAGE_FRAMES, MAX_POSTS_IN_FLIGHT
from shared.tunnel.machine import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from inference_node.tunnel.transport import Owner

HELD_S = 25.0
# A held request that is not answered a little later is lost.
DOWN_TIMEOUT = httpx.Timeout(HELD_S + 5.0, connect=5.0)
UP_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
TRIES = 3
KEY_HEADER = "Domovoi-Transport"
MEDIA_TYPE = "application/octet-stream"
OK, NO_CONTENT, GONE = 200, 204, 410
# A proxy whose server is away for a moment.
RETRIED = {502, 503, 504}
RETRY_S = 0.3


class PollingTransport:
    """One polling, from HELLO on."""

    def __init__(self, server_url: str, epoch: int, owner: Owner) -> None:
        self.epoch = epoch
        self.news = asyncio.Event()
        self._owner = owner
        self._url = server_url.rstrip("/")
        self._key = ""

    async def run(self) -> None:
        """Carry until it ends. Raises TransportError."""
        async with httpx.AsyncClient(base_url=self._url, timeout=UP_TIMEOUT, trust_env=is_remote(self._url)) as client:
            await self._begin(client)
            tasks = [asyncio.create_task(self._poll(client))]
            tasks += [asyncio.create_task(self._post(client)) for _ in range(MAX_POSTS_IN_FLIGHT)]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    await task
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self, client: httpx.AsyncClient) -> None:
        response = await self._tried(lambda: client.post("/tunnel/up", content=self._owner.hello(self.epoch)))
        self._key = response.headers.get(KEY_HEADER, "")
        try:
            frames = list(decode(response.content))
        except FrameError as error:
            raise TransportError(Failure.REFUSED, f"no frames: {error}") from error
        if len(frames) != 1:
            raise TransportError(Failure.REFUSED, "WELCOME comes first")
        self._owner.welcomed(self.epoch, frames[0])

    async def _poll(self, client: httpx.AsyncClient) -> None:
        while True:
            await self._tried(lambda: self._down(client))

    async def _down(self, client: httpx.AsyncClient) -> httpx.Response:
        """Ask for more, and take what comes as it comes."""
        query = {"epoch": self.epoch, "last_rx": self._owner.take_poll()}
        request = client.build_request(
            "GET", "/tunnel/down", params=query, headers={KEY_HEADER: self._key}, timeout=DOWN_TIMEOUT
        )
        response = await client.send(request, stream=True)
        try:
            if response.status_code == OK and response.headers.get("content-type") == MEDIA_TYPE:
                reader = FrameReader()
                async for piece in response.aiter_raw():
                    self._owner.receive(self.epoch, reader.feed(piece))
            else:
                await response.aread()
                if response.status_code == NO_CONTENT:
                    self._owner.heard(self.epoch)
        finally:
            await response.aclose()
        return response

    async def _post(self, client: httpx.AsyncClient) -> None:
        while True:
            body = self._owner.outgoing(self.epoch, MAX_MESSAGE_BYTES, MAX_MESSAGE_FRAMES)
            if not body:
                await self.news.wait()
                self.news.clear()
                continue
            # The other poster may have been waiting for the same news.
            self.news.set()
            response = await self._tried(lambda body=body: self._up(client, body))  # type: ignore[misc]
            self._owner.receive(self.epoch, decode(response.content), is_life=False)

    async def _up(self, client: httpx.AsyncClient, body: bytes) -> httpx.Response:
        return await client.post(
            "/tunnel/up", params={"epoch": self.epoch}, content=body, headers={KEY_HEADER: self._key}
        )

    async def _tried(self, ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Ask until there is an answer; every request here may be sent again. Raises TransportError."""
        for left in reversed(range(TRIES)):
            try:
                response = await ask()
            except httpx.ConnectError as error:
                raise TransportError(Failure.UNREACHABLE, str(error)) from error
            except httpx.TransportError as error:
                if not left:
                    raise TransportError(Failure.DEAD, str(error) or type(error).__name__) from error
                await asyncio.sleep(RETRY_S)
                continue
            if _is_ours(response):
                return response
            if response.status_code == GONE:
                raise TransportError(Failure.CLOSED, "another transport is newer")
            if not left or response.status_code not in RETRIED:
                raise TransportError(denial(response.status_code, response.content), f"HTTP {response.status_code}")
            await asyncio.sleep(RETRY_S)
        raise AssertionError("the last try returns or raises")


def _is_ours(response: httpx.Response) -> bool:
    """A captive portal answers everything with 200, and never with frames."""
    is_message = response.status_code == OK and response.headers.get("content-type") == MEDIA_TYPE
    return is_message or response.status_code == NO_CONTENT
