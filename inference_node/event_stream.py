"""Server-sent events whose frames are ready bytes; a reader that does not read is let go."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError

from shared.limits import EVENT_STREAM_PING_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)
# Its debug lines hold every chunk: what people and models write does not belong into logs.
logging.getLogger("sse_starlette").setLevel(logging.INFO)

SEND_TIMEOUT_S = 30.0
_HEADERS = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}


class EventStream:
    """The response: an ASGI application that sends the frames as they come."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = EventSourceResponse(
            self._frames, ping=EVENT_STREAM_PING_S, send_timeout=SEND_TIMEOUT_S, headers=_HEADERS
        )
        try:
            await response(scope, receive, send)
        except SendTimeoutError:
            log.info("an event stream was not read for %s s and is closed", SEND_TIMEOUT_S)
