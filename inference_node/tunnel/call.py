"""One relayed call inside the session, from the node's side: an ASGI server for a single request (rules N8, N9)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from shared.errors import Code
from shared.tunnel.events import Data, Ended, Lost, Opened, Reset, Writable
from shared.tunnel.payloads import OpenRequest, OpenResponse, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Scope

    from shared.tunnel.table import StreamTable

log = logging.getLogger(__name__)

StreamEvent = Opened | Data | Ended | Reset | Lost | Writable


class CallerGone(ClientDisconnect):
    """The other side has reset the stream, or the session is over."""


class Call:
    """Runs the remote application for one stream. `flush` sends what the session has, and never waits."""

    def __init__(self, number: int, request: OpenRequest, streams: StreamTable, flush: Callable[[], None]) -> None:
        self._number = number
        self._request = request
        self._streams = streams
        self._flush = flush
        self._body: deque[bytes] = deque()
        self._body_ended = False
        self._end_told = False
        self._is_gone = False
        self._is_complete = False
        self._news = asyncio.Event()
        self._sending = asyncio.Lock()

    async def run(self, application: ASGIApp) -> None:
        """Answer the call. Whatever happens, the other side hears END or RESET, unless it has gone itself."""
        try:
            await application(_scope(self._request), self._receive, self._send)
        except CallerGone:
            pass
        except Exception:
            # The application has answered what it could; what is left is a fault after the response began.
            log.exception("%s %s failed", self._request.method, self._request.path)
        finally:
            if self._is_complete:
                # Nobody reads the rest of the request, and its credit is the others'.
                self._consume_rest()
            else:
                self._streams.reset(self._number, Code.INTERNAL)
            self._flush()

    def on_event(self, event: StreamEvent) -> None:
        """Take what happened on the stream."""
        match event:
            case Data(_, data):
                self._body.append(data)
                if self._is_complete:
                    self._consume_rest()
            case Ended():
                self._body_ended = True
            case Reset() | Lost():
                self._is_gone = True
            case _:
                pass
        self._news.set()

    def _consume_rest(self) -> None:
        while self._body:
            self._streams.consumed(self._number, len(self._body.popleft()))

    async def _receive(self) -> Message:
        while not self._is_gone and not self._is_complete:
            if self._body:
                chunk = self._body.popleft()
                self._streams.consumed(self._number, len(chunk))
                self._flush()
                return {"type": "http.request", "body": chunk, "more_body": True}
            if self._body_ended and not self._end_told:
                self._end_told = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._next()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            self._streams.answer(self._number, write(OpenResponse(message["status"], headers)))
            self._flush()
            return
        await self._send_body(message.get("body", b""))
        if not message.get("more_body", False):
            self._is_complete = True
            self._streams.finish(self._number)
            self._flush()
            self._news.set()

    async def _send_body(self, data: bytes) -> None:
        """Send all of it before anything else of this call: an event stream pings beside what it says."""
        async with self._sending:
            try:
                while data:
                    if self._is_gone:
                        raise CallerGone
                    self._news.clear()
                    taken = self._streams.write(self._number, data)
                    self._flush()
                    data = data[taken:]
                    if data:
                        await self._news.wait()
            finally:
                # Given up in the middle: whatever came after it would be taken for the rest of it.
                self._is_gone = self._is_gone or bool(data)

    async def _next(self) -> None:
        self._news.clear()
        await self._news.wait()


def _scope(request: OpenRequest) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": request.path,
        "raw_path": request.path.encode("latin-1", "replace"),
        "query_string": request.query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers],
        "client": None,
        "server": None,
    }
