"""The head of an HTTP request is bounded in size and time, and what is no HTTP gets a problem document too.

uvicorn by itself takes a head of any size, which keeps everybody waiting, and waits for its end for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.errors import Code, DomovoiError
from shared.limits import HEAD_WITHIN_S, MAX_HEAD_BYTES, MAX_HEADERS

if TYPE_CHECKING:
    import asyncio


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with these bounds."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._is_in_head = True
        self._head_bytes = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEAD_WITHIN_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and give up on a head that has no end."""
        super().data_received(data)
        if self._is_in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Begin to wait for the end of another head."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0
        self._stop_waiting()
        self._patience = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. An error in here is answered as any other that the parser finds."""
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS or len(value) > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")

    def on_headers_complete(self) -> None:
        """Go on to what is asked."""
        self._is_in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse, and close the connection: where the next request begins, nobody can know."""
        body = msgspec.json.encode(DomovoiError(Code.BAD_REQUEST, msg).problem())
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n"
            f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
