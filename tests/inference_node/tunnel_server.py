"""The server's end of a tunnel, played frame by frame."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace
from websockets.asyncio.server import ServerConnection, serve

from shared.tunnel import frames
from shared.tunnel.frames import Frame, FrameType
from shared.tunnel.payloads import HelloPayload, OpenRequest, OpenResponse, WelcomePayload, WindowPayload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WITHIN_S = 20.0


class Peer:
    """One connection of the node, after HELLO."""

    def __init__(self, websocket: ServerConnection, hello: HelloPayload) -> None:
        self.hello = hello
        self.websocket = websocket
        self._frames: list[Frame] = []
        self._sent = 0

    async def send(self, *sent: Frame) -> None:
        """Send frames in one message, with the numbers that are due."""
        await self.websocket.send(b"".join(frames.encode(self._numbered(frame)) for frame in sent))

    def _numbered(self, frame: Frame) -> Frame:
        if not frame.type.is_sequenced:
            return frame
        self._sent += 1
        return replace(frame, seq=self._sent)

    async def open(self, number: int, method: str, path: str, headers: dict[str, str] | None = None) -> None:
        request = OpenRequest(method, path, "", list((headers or {}).items()))
        await self.send(Frame(FrameType.OPEN, number, msgspec.msgpack.encode(request)))

    async def grant(self, number: int, credit: int) -> None:
        await self.send(Frame(FrameType.WINDOW, number, msgspec.msgpack.encode(WindowPayload(credit))))

    async def next(self, kind: FrameType, stream: int = 0) -> Frame:
        """Return the next frame of that kind, passing over others."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                while self._frames:
                    frame = self._frames.pop(0)
                    if (frame.type, frame.stream) == (kind, stream):
                        return frame
                self._frames += frames.decode(await self.websocket.recv(decode=False))

    async def response(self, stream: int) -> tuple[int, bytes]:
        """Return status and body of a whole response."""
        head = msgspec.msgpack.decode((await self.next(FrameType.OPEN, stream)).payload, type=OpenResponse)
        body = b""
        async with asyncio.timeout(WITHIN_S):
            while True:
                while self._frames:
                    frame = self._frames.pop(0)
                    if frame.stream == stream and frame.type is FrameType.DATA:
                        body += frame.payload
                    if frame.stream == stream and frame.type in {FrameType.END, FrameType.RESET}:
                        return head.status, body
                self._frames += frames.decode(await self.websocket.recv(decode=False))


class TunnelServer:
    """Takes the node's connections, one after the other."""

    def __init__(self, *, welcomes: bool = True, sees_at: str = "") -> None:
        self._welcomes = welcomes
        self._sees_at = sees_at
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.url = ""

    async def peer(self) -> Peer:
        """Return the node's next connection."""
        return await asyncio.wait_for(self._peers.get(), WITHIN_S)

    async def _serve(self, websocket: ServerConnection) -> None:
        (frame,) = frames.decode(await websocket.recv(decode=False))
        assert frame.type is FrameType.HELLO
        peer = Peer(websocket, msgspec.msgpack.decode(frame.payload, type=HelloPayload))
        if self._welcomes:
            epoch = peer.hello.epoch
            welcome = WelcomePayload(
                False, epoch, 0, heartbeat=10.0, max_frame=65536, since=epoch, address=self._sees_at
            )
            await peer.send(Frame(FrameType.WELCOME, payload=msgspec.msgpack.encode(welcome)))
        self._peers.put_nowait(peer)
        await websocket.wait_closed()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[TunnelServer]:
        async with serve(self._serve, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            yield self
