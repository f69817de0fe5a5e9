"""A server of its own process: the hub, and a bare relay before it. `python -m tests.tunnel.server_process PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from shared.errors import Code, DomovoiError
from shared.tunnel.payloads import OpenRequest
from sync_server.problems import on_domovoi_error
from sync_server.tunnel.hub import TunnelHub, tunnel_routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from sync_server.tunnel.call import Call

NODE_ID = bytes(range(16))


async def verify(token: str) -> bytes:
    """Take anybody for the node."""
    assert token
    return NODE_ID


def application() -> Starlette:
    """Return the hub's addresses and `/relay/…`."""
    hub = TunnelHub(verify, lambda *_: None, lambda _: None)

    async def relay(request: Request) -> Response:
        link = hub.find(NODE_ID)
        if link is None:
            raise DomovoiError(Code.NODE_UNREACHABLE)
        call = link.open(OpenRequest(request.method, f"/{request.path_params['path']}", request.url.query, []))
        try:
            async for piece in request.stream():
                await call.send(piece)
            call.end()
            head = await call.head()
        except BaseException:
            call.abandon()
            raise
        return StreamingResponse(_chunks(call), head.status)

    routes = [*tunnel_routes(hub), Route("/relay/{path:path}", relay, methods=["GET", "POST"])]
    return Starlette(routes=routes, exception_handlers={DomovoiError: on_domovoi_error})


async def _chunks(call: Call) -> AsyncIterator[bytes]:
    try:
        async for chunk in call.chunks():
            yield chunk
    finally:
        call.abandon()


def main() -> None:
    """Serve until killed."""
    configuration = uvicorn.Config(
        application(),
        port=int(sys.argv[1]),
        lifespan="off",
        log_level="critical",
        ws="websockets-sansio",
        ws_ping_interval=None,
    )
    asyncio.run(uvicorn.Server(configuration).serve())


if __name__ == "__main__":
    main()
