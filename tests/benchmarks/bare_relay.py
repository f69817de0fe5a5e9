"""The least that a relay does, with the libraries that ours uses: `python -m tests.benchmarks.bare_relay PORT`.

A WebSocket brings messages, of which the first four bytes are a stream's number; `/streams/{number}` streams the rest.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.websockets import WebSocket

NUMBER_BYTES = 4
_streams: dict[int, asyncio.Queue[bytes]] = {}


async def _tunnel(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_bytes():
        if (stream := _streams.get(int.from_bytes(message[:NUMBER_BYTES]))) is not None:
            stream.put_nowait(message[NUMBER_BYTES:])


async def _stream(request: Request) -> StreamingResponse:
    queue = _streams[int(request.path_params["number"])] = asyncio.Queue()

    async def events() -> AsyncIterator[bytes]:
        while True:
            yield await queue.get()

    return StreamingResponse(events(), media_type="text/event-stream")


def main() -> None:
    """Serve until killed."""
    application = Starlette(routes=[WebSocketRoute("/tunnel", _tunnel), Route("/streams/{number:int}", _stream)])
    configuration = uvicorn.Config(
        application,
        port=int(sys.argv[1]),
        lifespan="off",
        log_level="critical",
        access_log=False,
        ws="websockets-sansio",
        ws_ping_interval=None,
        ws_per_message_deflate=False,
    )
    uvicorn.Server(configuration).run()


if __name__ == "__main__":
    main()
