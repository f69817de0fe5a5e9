"""One relayed call, from the node's side: the tunnel's frames on one end, an ASGI application on the other (T3, T4)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from shared.errors import Code
from shared.frames import (
    Frame,
    FrameError,
    FrameType,
    OpenRequest,
    OpenResponse,
    ReceiveCredit,
    ResetPayload,
    SendCredit,
    WindowPayload,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Scope

log = logging.getLogger(__name__)

# Of HTTP's own connection, which a relayed call has none of.
_HOP_HEADERS = {b"connection", b"keep-alive", b"transfer-encoding"}


class TunnelCall:
    """Runs the application for one OPEN. `send` puts a frame into the tunnel; credit bounds what waits there."""

    def __init__(self, number: int, request: OpenRequest, send: Callable[[Frame], None]) -> None:
        self._number = number
        self._request = request
        self._put = send
        self._may_send = SendCredit()
        self._granted = asyncio.Event()
        self._owed = ReceiveCredit()
        self._body: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._body_is_complete = False
        self._body_is_given = False
        self._is_over = False

    async def run(self, application: ASGIApp) -> None:
        """Answer the call; whatever happens, the server hears END or RESET, or has sent RESET itself."""
        try:
            await application(self._scope(), self._receive, self._send)
        except Exception:
            log.exception("a relayed call failed")
        finally:
            if not self._is_over:
                self._is_over = True
                self._put(self._frame(FrameType.RESET, ResetPayload(Code.INTERNAL)))

    def on_frame(self, frame: Frame) -> None:
        """Take a frame of this call. Raises FrameError or MsgspecError when it breaks the protocol."""
        match frame.type:
            case FrameType.DATA if not self._body_is_complete:
                self._owed.received(len(frame.payload))
                self._body.append(frame.payload)
            case FrameType.END:
                self._body_is_complete = True
            case FrameType.WINDOW:
                self._may_send.grant(msgspec.msgpack.decode(frame.payload, type=WindowPayload).credit)
                self._granted.set()
            case FrameType.RESET:
                self.abandon()
            case _:
                raise FrameError(f"{frame.type.name} out of place")
        self._arrived.set()

    def abandon(self) -> None:
        """The caller is gone: the application hears of a disconnect, and nothing more is sent."""
        self._is_over = True
        self._arrived.set()
        self._granted.set()

    def _scope(self) -> Scope:
        request = self._request
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.path,
            "raw_path": request.path.encode("latin-1"),
            "query_string": request.query.encode("latin-1"),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers],
            "client": None,
            "server": None,
        }

    async def _receive(self) -> Message:
        while not self._is_over:
            # After the last piece only a disconnect is left to wait for: an event stream listens for it.
            if self._body or (self._body_is_complete and not self._body_is_given):
                return self._next_piece()
            self._arrived.clear()
            await self._arrived.wait()
        return {"type": "http.disconnect"}

    def _next_piece(self) -> Message:
        piece = self._body.popleft() if self._body else b""
        if credit := self._owed.consumed(len(piece)):
            self._put(self._frame(FrameType.WINDOW, WindowPayload(credit)))
        self._body_is_given = self._body_is_complete and not self._body
        return {"type": "http.request", "body": piece, "more_body": not self._body_is_given}

    async def _send(self, message: Message) -> None:
        if self._is_over:
            return
        if message["type"] == "http.response.start":
            headers = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message.get("headers", [])
                if name not in _HOP_HEADERS
            ]
            self._put(self._frame(FrameType.OPEN, OpenResponse(message["status"], headers)))
            return
        await self._send_data(message.get("body", b""))
        if not message.get("more_body", False) and not self._is_over:
            self._is_over = True
            self._put(Frame(FrameType.END, self._number))

    async def _send_data(self, data: bytes) -> None:
        while data and not self._is_over:
            taken = self._may_send.take(len(data))
            if taken == 0:
                self._granted.clear()
                await self._granted.wait()
                continue
            self._put(Frame(FrameType.DATA, self._number, data[:taken]))
            data = data[taken:]

    def _frame(self, kind: FrameType, payload: msgspec.Struct) -> Frame:
        return Frame(kind, self._number, msgspec.msgpack.encode(payload))
