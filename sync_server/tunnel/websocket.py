"""A node's WebSocket: one message is one or more frames (rules N1, N13)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from shared.errors import DomovoiError
from shared.tunnel.frames import Fault, Frame, FrameError, FrameType, decode, encode
from shared.tunnel.handshake import read_hello
from shared.tunnel.limits import MAX_FRAME_PAYLOAD_BYTES, WELCOME_S
from shared.tunnel.payloads import ResetPayload, write
from sync_server.accounts.caller import address_of

if TYPE_CHECKING:
    from shared.wire import Transport
    from sync_server.tunnel.hub import TunnelHub
    from sync_server.tunnel.link import Link

# Frames that wait are sent together up to this size.
MESSAGE_BYTES = 3 * MAX_FRAME_PAYLOAD_BYTES
# How long a node that is sent away has to take the last message, seconds.
LAST_WORD_S = 1.0
PROTOCOL_ERROR = 1002
POLICY_VIOLATION = 1008
# Another transport carries the session, or the session is over.
REPLACED = 4000


class WebSocketCarrier:
    """Carries a session until either end closes it."""

    kind: Transport = "websocket"

    def __init__(self, websocket: WebSocket) -> None:
        self.address = address_of(websocket)
        self._websocket = websocket
        self._news = asyncio.Event()
        self._last: bytes | None = None
        self._closing = asyncio.Event()

    def wake(self) -> None:
        """The session may have something to send."""
        self._news.set()

    def close(self, last: bytes = b"") -> None:
        """End it, after this last message."""
        self._last = last
        self._closing.set()
        self._news.set()

    async def run(self, link: Link, rest: list[Frame]) -> None:
        """Read and write until either side ends it. Raises WebSocketDisconnect, and FrameError for a text message."""
        reader = asyncio.create_task(self._read(link, rest))
        writer = asyncio.create_task(self._write(link))
        closing = asyncio.create_task(self._closing.wait())
        try:
            done, _ = await asyncio.wait({reader, writer, closing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
            # A peer that takes nothing any more is not waited for.
            await asyncio.wait({writer}, timeout=LAST_WORD_S)
        finally:
            for task in (reader, writer, closing):
                task.cancel()
            await asyncio.gather(reader, writer, closing, return_exceptions=True)

    async def _read(self, link: Link, rest: list[Frame]) -> None:
        link.receive(self, rest)
        while True:
            link.receive(self, decode(await _receive(self._websocket)))

    async def _write(self, link: Link) -> None:
        while self._last is None:
            if message := link.outgoing(self, MESSAGE_BYTES):
                await self._websocket.send_bytes(message)
            else:
                await self._news.wait()
                self._news.clear()
        if self._last:
            await self._websocket.send_bytes(self._last)


async def serve(websocket: WebSocket, hub: TunnelHub) -> None:
    """Serve one node's WebSocket from HELLO to its end."""
    await websocket.accept()
    code = REPLACED
    try:
        async with asyncio.timeout(WELCOME_S):
            message = await _receive(websocket)
        frames = list(decode(message))
        if not frames:
            raise FrameError(Fault.ORDER, "HELLO comes first")
        greeting = read_hello(frames[0])
        link = hub.link(await hub.verify(greeting.token))
        carrier = WebSocketCarrier(websocket)
        if (welcome := link.greet(greeting, carrier)) is not None:
            try:
                await websocket.send_bytes(encode(welcome))
                await carrier.run(link, frames[1:])
            finally:
                link.lost(carrier)
    except DomovoiError as error:
        goodbye = Frame(FrameType.GOAWAY, payload=write(ResetPayload(error.code)))
        with suppress(WebSocketDisconnect):
            await websocket.send_bytes(encode(goodbye))
        code = POLICY_VIOLATION
    except FrameError:
        code = PROTOCOL_ERROR
    except (TimeoutError, WebSocketDisconnect):
        pass
    if websocket.client_state is websocket.application_state is WebSocketState.CONNECTED:
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            await _close(websocket, code)


async def _close(websocket: WebSocket, code: int) -> None:
    async with asyncio.timeout(LAST_WORD_S):
        await websocket.close(code)


async def _receive(websocket: WebSocket) -> bytes:
    try:
        return await websocket.receive_bytes()
    except KeyError:
        raise FrameError(Fault.TYPE, "a text message") from None
