"""One call to a node inside its session, from the server's side (rules N8, N9)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from shared.errors import Code, DomovoiError
from shared.tunnel.events import Data, Ended, Lost, Opened, Reset, Writable
from shared.tunnel.frames import FrameError
from shared.tunnel.payloads import OpenResponse, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from shared.tunnel.table import StreamTable

StreamEvent = Opened | Data | Ended | Reset | Lost | Writable


class Call:
    """Sends a request's body and receives its response, each as fast as the other side takes it.

    `flush` sends what the session has; `on_done` is called when the caller is done with it.
    """

    def __init__(
        self, number: int, streams: StreamTable, flush: Callable[[], None], on_done: Callable[[], None]
    ) -> None:
        self._number = number
        self._streams = streams
        self._flush = flush
        self._on_done = on_done
        self._head: OpenResponse | None = None
        self._chunks: deque[bytes] = deque()
        self._failure: Code | None = None
        self._has_ended = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def send(self, data: bytes) -> None:
        """Send a piece of the request's body, waiting for room."""
        while data and self._failure is None:
            self._room.clear()
            taken = self._streams.write(self._number, data)
            self._flush()
            data = data[taken:]
            if data and self._failure is None:
                await self._room.wait()

    def end(self) -> None:
        """Say that the request's body is complete."""
        self._streams.finish(self._number)
        self._flush()

    async def head(self) -> OpenResponse:
        """Return the head of the response. Raises DomovoiError with what ended the call before it."""
        while self._head is None:
            await self._next()
        return self._head

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body of the response. Raises DomovoiError when it was cut off."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                yield chunk
                self._streams.consumed(self._number, len(chunk))
                self._flush()
            if self._has_ended:
                return
            await self._next()

    def abandon(self) -> None:
        """Nobody waits for the response any more. The node is told, unless the call is over."""
        self._streams.reset(self._number, Code.NOT_FOUND)
        self._flush()
        self._on_done()

    def refuse(self) -> None:
        """The node is away for long: end the call, if its answer has not begun."""
        if self._head is None:
            self._streams.reset(self._number, Code.NODE_UNREACHABLE)
            self._fail(Code.NODE_UNREACHABLE)
            self._news.set()

    async def _next(self) -> None:
        if self._failure is not None:
            raise DomovoiError(self._failure)
        self._news.clear()
        await self._news.wait()

    def on_event(self, event: StreamEvent) -> None:
        """Take what happened on the stream."""
        match event:
            case Opened(_, payload):
                self._opened(payload)
            case Data(_, data):
                self._chunks.append(data)
            case Ended():
                self._has_ended = True
            case Reset(_, code):
                self._fail(Code(code) if code in set(Code) else Code.NODE_UNREACHABLE)
            case Lost():
                self._fail(Code.NODE_UNREACHABLE)
            case Writable():
                self._room.set()
        self._news.set()

    def _opened(self, payload: bytes) -> None:
        try:
            self._head = unpack(payload, OpenResponse)
        except FrameError:
            self._fail(Code.NODE_UNREACHABLE)
            self._streams.reset(self._number, Code.BAD_REQUEST)

    def _fail(self, code: Code) -> None:
        if not self._has_ended:
            self._failure = code
        self._room.set()
