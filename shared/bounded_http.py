"""Requests are bounded in the size of their head, in time and in number, and every refusal is a problem document.

uvicorn by itself takes a head of any size, which keeps everybody waiting, waits for its end and the body's for ever,
and says that it is busy in plain text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.errors import Code, DomovoiError
from shared.limits import BODY_BYTES_EACH, BODY_WITHIN_S, HEAD_WITHIN_S, MAX_HEAD_BYTES, MAX_HEADERS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

PROBLEM = "application/problem+json"
# Connections beyond the limit that are told so; what comes after them is closed at once.
TOLD = 64
# For what is no page: whoever shows it as one gets nothing to run, load or frame.
SAFE_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# Of the answers that are given before the application is asked.
HEADERS = {**SAFE_HEADERS, "content-type": PROBLEM, "cache-control": "no-store", "connection": "close"}


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with these bounds; `limit_concurrency` of its configuration counts connections."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._most = self.limit_concurrency
        self.limit_concurrency = None
        self._is_in_head = True
        self._is_between = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for the first head."""
        super().connection_made(transport)
        if self._most is not None and len(self.connections) > self._most + TOLD:
            transport.close()
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and give up on a head that has no end."""
        was_between = self._is_between
        super().data_received(data)
        if was_between and self._is_between and self._patience is None and self.cycle.response_complete:
            # Line ends before a request: they end uvicorn's patience with what is idle, and begin nothing.
            self._patience = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)
        if self._is_in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Begin to wait for the end of another head."""
        super().on_message_begin()
        self._wait_for_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. An error in here is answered as any other that the parser finds."""
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS or len(value) > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")

    def on_headers_complete(self) -> None:
        """Go on to what is asked, unless too many ask; and to the body, which must go on arriving."""
        self._is_in_head = False
        self.app = self.config.loaded_app
        if self._most is not None and len(self.connections) > self._most:
            self.app = _too_busy
        super().on_headers_complete()
        self._wait_for_body()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._stop_waiting()
        self._is_between = True
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection, with all patience, to whoever speaks WebSocket on it."""
        super().handle_websocket_upgrade()
        self._stop_waiting()
        # No request follows: what was asked before on this connection, as nginx does, says nothing of idleness.
        self._is_between = False

    def send_400_response(self, msg: str) -> None:
        """Refuse, and close the connection: where the next request begins, nobody can know."""
        body = msgspec.json.encode(DomovoiError(Code.BAD_REQUEST, msg).problem())
        lines = [f"{name}: {value}" for name, value in {**HEADERS, "content-length": len(body)}.items()]
        head = "\r\n".join(["HTTP/1.1 400 Bad Request", *lines, "", ""])
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _wait_for_head(self) -> None:
        self._is_in_head = True
        self._is_between = False
        self._head_bytes = 0
        self._stop_waiting()
        self._patience = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def _wait_for_body(self) -> None:
        self._body_bytes = 0
        self._stop_waiting()
        self._patience = self.loop.call_later(BODY_WITHIN_S, self._look_at_body)

    def _look_at_body(self) -> None:
        # While nothing is read from the connection it is we who are slow.
        if self._body_bytes >= BODY_BYTES_EACH or self.flow.read_paused:
            self._wait_for_body()
        else:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


async def _too_busy(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """The application that answers while too many connections are open."""
    error = DomovoiError(Code.TOO_BUSY)
    body = msgspec.json.encode(error.problem())
    more = {"retry-after": "5", "content-length": str(len(body))}
    headers = [(name.encode(), value.encode()) for name, value in {**HEADERS, **more}.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
