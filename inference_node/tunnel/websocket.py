"""A WebSocket to the server: one message is one or more frames."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from inference_node.tunnel.transport import TransportError, denial, denial_of
from shared.tunnel.frames import FrameError, FrameType, decode
from shared.tunnel.limits import MAX_FRAME_PAYLOAD_BYTES, MAX_MESSAGE_BYTES, WELCOME_S
from shared.tunnel.machine import Failure
from shared.tunnel.payloads import ResetPayload, read

if TYPE_CHECKING:
    from inference_node.tunnel.transport import Owner

MESSAGE_BYTES = 3 * MAX_FRAME_PAYLOAD_BYTES
# How long the server has to answer our end, seconds.
CLOSE_S = 1.0


class WebSocketTransport:
    """One connection, from HELLO on."""

    def __init__(self, server_url: str, epoch: int, owner: Owner) -> None:
        self.epoch = epoch
        self.news = asyncio.Event()
        self._url = f"{server_url.replace('http', 'ws', 1).rstrip('/')}/tunnel"
        self._owner = owner

    async def run(self) -> None:
        """Carry until it ends. Raises TransportError."""
        try:
            async with connect(
                self._url,
                max_size=MAX_MESSAGE_BYTES,
                ping_interval=None,
                compression=None,
                open_timeout=WELCOME_S,
                close_timeout=CLOSE_S,
            ) as websocket:
                await self._carry(websocket)
        except InvalidStatus as error:
            failure = denial(error.response.status_code, bytes(error.response.body or b""))
            raise TransportError(failure, str(error)) from error
        except (InvalidHandshake, InvalidMessage, TimeoutError) as error:
            raise TransportError(Failure.REFUSED, str(error) or "no answer") from error
        except ConnectionClosed as error:
            raise TransportError(Failure.CLOSED, str(error)) from error
        except FrameError as error:
            raise TransportError(Failure.CLOSED, f"no frames: {error}") from error
        except OSError as error:
            raise TransportError(Failure.UNREACHABLE, str(error)) from error

    async def _carry(self, websocket: ClientConnection) -> None:
        await websocket.send(self._owner.hello(self.epoch))
        frames = list(decode(await websocket.recv(decode=False)))
        if not frames:
            raise TransportError(Failure.REFUSED, "WELCOME comes first")
        first, *rest = frames
        if first.type is FrameType.GOAWAY:
            code = read(first, ResetPayload).code
            raise TransportError(denial_of(code), f"the server says {code}")
        self._owner.welcomed(self.epoch, first)
        self._owner.receive(self.epoch, rest)
        writer = asyncio.create_task(self._write(websocket))
        try:
            async for message in websocket:
                data = message.encode() if isinstance(message, str) else message
                self._owner.receive(self.epoch, decode(data))
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        raise TransportError(Failure.CLOSED, f"the server closed it: {websocket.close_reason or websocket.close_code}")

    async def _write(self, websocket: ClientConnection) -> None:
        while True:
            if message := self._owner.outgoing(self.epoch, MESSAGE_BYTES):
                await websocket.send(message)
            else:
                await self.news.wait()
                self.news.clear()
