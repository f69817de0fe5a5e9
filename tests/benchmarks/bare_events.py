"""Event streams of bare sse-starlette under uvicorn, that say nothing but their pings.

`python -m tests.benchmarks.bare_events PORT`
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import uvicorn
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

from shared.limits import EVENT_STREAM_PING_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

BACKLOG = 2048


async def _events(_: Request) -> EventSourceResponse:
    async def nothing() -> AsyncIterator[str]:
        yield "hello"
        await asyncio.Event().wait()

    return EventSourceResponse(nothing(), ping=EVENT_STREAM_PING_S, send_timeout=30)


def main() -> None:
    """Serve until killed."""
    application = Starlette(routes=[Route("/api/v1/events", _events)])
    configuration = uvicorn.Config(
        application, port=int(sys.argv[1]), lifespan="off", log_level="critical", access_log=False, backlog=BACKLOG
    )
    uvicorn.Server(configuration).run()


if __name__ == "__main__":
    main()
