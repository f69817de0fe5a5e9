"""One relayed call inside the tunnel, from the node's side: an ASGI server for a single request (rules T3, T4)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from shared.errors import Code
from shared.tunnel.credit import ReceiveCredit, SendCredit
from shared.tunnel.frames import Fault, Frame, FrameError, FrameType
from shared.tunnel.payloads import OpenRequest, OpenResponse, ResetPayload, WindowPayload

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Scope

log = logging.getLogger(__name__)


class CallerGone(Exception):
    """The other side has reset the stream."""


class TunnelStream:
    """Runs the remote application for one OPEN. `send` queues a frame and never waits; credit bounds what queues."""

    def __init__(self, number: int, request: OpenRequest, send: Callable[[Frame], None]) -> None:
        self.number = number
        self._request = request
        self._send_frame = send
        self._may_send = SendCredit()
        self._owed = ReceiveCredit()
        self._body: deque[bytes] = deque()
        self._body_ended = False
        self._end_told = False
        self._is_gone = False
        self._is_complete = False
        self._news = asyncio.Event()

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
            if not self._is_complete and not self._is_gone:
                self._reset(Code.INTERNAL)

    def on_frame(self, frame: Frame) -> None:
        """Take a frame of this stream. Raises FrameError or MsgspecError when it breaks the protocol."""
        match frame.type:
            case FrameType.DATA if not self._body_ended:
                self._owed.received(len(frame.payload))
                self._body.append(frame.payload)
            case FrameType.END:
                self._body_ended = True
            case FrameType.RESET:
                self._is_gone = True
            case FrameType.WINDOW:
                self._may_send.grant(msgspec.msgpack.decode(frame.payload, type=WindowPayload).credit)
            case _:
                raise FrameError(Fault.ORDER, f"{frame.type.name} out of place")
        self._news.set()

    def abandon(self) -> None:
        """The tunnel is gone, and the caller with it."""
        self._is_gone = True
        self._news.set()

    async def _receive(self) -> Message:
        while not self._is_gone and not self._is_complete:
            if self._body:
                chunk = self._body.popleft()
                if credit := self._owed.consumed(len(chunk)):
                    window = msgspec.msgpack.encode(WindowPayload(credit))
                    self._send_frame(Frame(FrameType.WINDOW, self.number, window))
                return {"type": "http.request", "body": chunk, "more_body": True}
            if self._body_ended and not self._end_told:
                self._end_told = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._next()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            head = msgspec.msgpack.encode(OpenResponse(message["status"], headers))
            self._send_frame(Frame(FrameType.OPEN, self.number, head))
            return
        await self._send_body(message.get("body", b""))
        if not message.get("more_body", False):
            self._is_complete = True
            self._send_frame(Frame(FrameType.END, self.number))
            self._news.set()

    async def _send_body(self, data: bytes) -> None:
        while data:
            if self._is_gone:
                raise CallerGone
            taken = self._may_send.take(len(data))
            if taken:
                self._send_frame(Frame(FrameType.DATA, self.number, data[:taken]))
                data = data[taken:]
            else:
                await self._next()

    async def _next(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _reset(self, code: Code) -> None:
        self._send_frame(Frame(FrameType.RESET, self.number, msgspec.msgpack.encode(ResetPayload(code))))


def _scope(request: OpenRequest) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": request.path,
        "raw_path": request.path.encode("latin-1"),
        "query_string": request.query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers],
        "client": None,
        "server": None,
    }
