"""A server's hub under a real uvicorn, a node's client, and a proxy with faults between them, on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from inference_node.tunnel.client import Client
from shared.errors import Code, DomovoiError
from shared.tunnel.limits import STREAM_CREDIT_BYTES
from shared.tunnel.payloads import OpenRequest, PokePayload
from sync_server.problems import on_domovoi_error
from sync_server.tunnel.hub import TunnelHub, tunnel_routes
from tests.tunnel.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from shared.tunnel.machine import State
    from sync_server.tunnel.call import Call

NODE_ID = bytes(range(16))
WITHIN_S = 30.0


class Remote:
    """The node's remote application, as far as these tests need one."""

    def __init__(self) -> None:
        self.written = 0
        self.events = 0
        self.left = asyncio.Event()
        self.gives_up = asyncio.Event()
        self._application = Starlette(
            routes=[
                Route("/v1/hash", self._hash, methods=["POST"]),
                Route("/v1/bytes", self._bytes),
                Route("/v1/broken", self._broken),
                Route("/v1/events", self._events),
            ]
        )

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call; `left` is set when one is over, however it ends."""
        try:
            await self._application(scope, receive, send)
        finally:
            self.left.set()

    async def _hash(self, request: Request) -> Response:
        digest = hashlib.sha256()
        async for piece in request.stream():
            digest.update(piece)
        return PlainTextResponse(digest.hexdigest())

    async def _bytes(self, request: Request) -> Response:
        size, seed = int(request.query_params["size"]), int(request.query_params["seed"])
        return StreamingResponse(self._pieces(size, seed), media_type="application/octet-stream")

    async def _broken(self, request: Request) -> Response:
        async def speak(_: Scope, __: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            body = {"type": "http.response.body", "more_body": True}
            event = asyncio.ensure_future(send({**body, "body": b"a" * 2 * STREAM_CREDIT_BYTES}))
            ping = asyncio.ensure_future(send({**body, "body": b"b"}))
            await self.gives_up.wait()
            event.cancel()
            await asyncio.gather(event, return_exceptions=True)
            self.gives_up.clear()
            await ping
            await send({"type": "http.response.body"})

        return speak  # type: ignore[return-value]  # an ASGI application is as good as a response

    async def _pieces(self, size: int, seed: int) -> AsyncIterator[bytes]:
        random = Random(seed)
        while size:
            piece = random.randbytes(min(size, 10_000))
            size -= len(piece)
            self.written += len(piece)
            yield piece

    async def _events(self, request: Request) -> Response:
        count = int(request.query_params["count"])

        async def events() -> AsyncIterator[str]:
            for number in range(count):
                self.events += 1
                yield f"id: {number}\n\n"
                await asyncio.sleep(0.005)

        return StreamingResponse(events(), media_type="text/event-stream")


class Home:
    """All of it. `logins` are the assertions that were used; `refused` is what new ones meet with."""

    def __init__(self) -> None:
        self.remote = Remote()
        self.logins: set[str] = set()
        self.refused: Code | None = None
        self.statuses: list[bytes] = []
        self.changes = 0
        self.pokes: list[PokePayload] = []
        self.welcomes = 0
        self.denials = 0
        self.proxy = FaultProxy(0)
        self.client: Client
        self.hub = self._new_hub()
        self.client_task: asyncio.Task[None]
        self._server: uvicorn.Server
        self._serving: asyncio.Task[None]

    def _new_hub(self) -> TunnelHub:
        return TunnelHub(self._verify, lambda _, status: self.statuses.append(status), lambda _: self._changed())

    def _changed(self) -> None:
        self.changes += 1

    async def _verify(self, token: str) -> bytes:
        if self.refused is not None:
            raise DomovoiError(self.refused)
        if token in self.logins:
            raise DomovoiError(Code.TOKEN_INVALID)
        self.logins.add(token)
        return NODE_ID

    async def start_server(self, port: int = 0) -> None:
        """Start a server that knows nothing of another before it."""
        self.hub = self._new_hub()
        application = Starlette(
            routes=tunnel_routes(self.hub),
            exception_handlers={DomovoiError: on_domovoi_error},
        )
        configuration = uvicorn.Config(
            application,
            port=port,
            lifespan="off",
            log_level=logging.CRITICAL,
            ws="websockets-sansio",
            ws_ping_interval=None,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(configuration)
        self._serving = asyncio.create_task(self._server.serve())
        await self.until(lambda: self._server.started)
        self.proxy.target = self._server.servers[0].sockets[0].getsockname()[1]

    async def stop_server(self) -> None:
        """Stop it as a crash does: nobody is told."""
        self._server.should_exit = self._server.force_exit = True
        await self._serving
        self.proxy.cut()

    def start_node(self) -> None:
        url = f"http://127.0.0.1:{self.proxy.port}"
        self.client = Client(url, self.remote.application, self, Random(1))
        self.client_task = asyncio.create_task(self.client.run())

    # What the client asks and tells.

    def assertion(self) -> str:
        return secrets.token_hex(8)

    def poked(self, poke: PokePayload) -> None:
        self.pokes.append(poke)

    def denied(self) -> None:
        self.denials += 1

    def welcomed(self) -> None:
        self.welcomes += 1
        self.client.tell_status(b"status %d" % self.welcomes)

    async def stop_node(self) -> None:
        self.client_task.cancel()
        await asyncio.gather(self.client_task, return_exceptions=True)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(WITHIN_S):
            while not is_so():  # noqa: ASYNC110  # what is waited for tells nobody
                await asyncio.sleep(0.01)

    async def until_in(self, *states: State) -> None:
        """Wait until the node is in one of these states, and connected."""
        await self.until(lambda: self.client.state in states and self.hub.find(NODE_ID) is not None)

    def call(self, method: str, path: str, query: str = "") -> Call:
        """Call the node, as the relay does."""
        link = self.hub.find(NODE_ID)
        assert link is not None
        return link.open(OpenRequest(method, path, query, []))

    async def get(self, path: str, query: str) -> bytes:
        """Return the body of a whole answer."""
        call = self.call("GET", path, query)
        call.end()
        async with asyncio.timeout(WITHIN_S):
            assert (await call.head()).status == 200
            return b"".join([chunk async for chunk in call.chunks()])


@asynccontextmanager
async def home() -> AsyncIterator[Home]:
    """A home with server and proxy; the node is to be started."""
    place = Home()
    await place.proxy.start()
    await place.start_server()
    try:
        yield place
    finally:
        if hasattr(place, "client_task"):
            await place.stop_node()
        await place.proxy.stop()
        await place.stop_server()
