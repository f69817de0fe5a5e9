"""One node's WebSocket: frames in, frames out, life and streams (rules T1-T6)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from shared.errors import Code, DomovoiError
from shared.limits import MAX_FRAME_PAYLOAD_BYTES, TUNNEL_DEAD_AFTER_S, TUNNEL_PING_AFTER_S
from shared.node_status import NodeStatus
from shared.tunnel import frames
from shared.tunnel.frames import Fault, Frame, FrameError, FrameType
from shared.tunnel.payloads import OpenRequest, PokePayload
from sync_server import clock
from sync_server.nodes.node_stream import NodeStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Frames that wait are sent together up to this size.
MESSAGE_BYTES = 2 * MAX_FRAME_PAYLOAD_BYTES
MAX_STREAMS = 256


class Tunnel:
    """A node that has said HELLO. `on_status` is called when it says how it is."""

    def __init__(self, websocket: WebSocket, on_status: Callable[[], None]) -> None:
        self.since_ms = clock.now_ms()
        self.status: NodeStatus | None = None
        self._websocket = websocket
        self._on_status = on_status
        self._streams: dict[int, NodeStream] = {}
        self._last_stream = 0
        self._urgent: deque[Frame] = deque()
        self._ordered: deque[Frame] = deque()
        self._pokes: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._is_closed = False

    def open(self, request: OpenRequest) -> NodeStream:
        """Start a call to the node. Raises DomovoiError engine_busy when too many are open."""
        if len(self._streams) >= MAX_STREAMS:
            raise DomovoiError(Code.ENGINE_BUSY)
        self._last_stream += 2
        stream = NodeStream(self._last_stream, self._send, self._forget)
        self._streams[stream.number] = stream
        self._send(Frame(FrameType.OPEN, stream.number, msgspec.msgpack.encode(request)))
        return stream

    def _forget(self, number: int) -> None:
        self._streams.pop(number, None)

    def poke(self, account_id: str, head: int) -> None:
        """Tell the node that a log moved; with an empty account, that its grants changed. Pokes that wait merge."""
        self._pokes[account_id] = max(head, self._pokes.get(account_id, 0))
        self._wake.set()

    def close(self) -> None:
        """End the tunnel, or keep it from beginning: a newer one replaces it, or the server stops."""
        self._is_closed = True
        if self._reader is not None:
            self._reader.cancel()

    async def run(self, first: Sequence[Frame]) -> None:
        """Read and write until either side is done, beginning with the frames that came with HELLO.

        Raises FrameError or MsgspecError when the node breaks the protocol, WebSocketDisconnect.
        """
        self._reader = asyncio.create_task(self._read(first))
        writer = asyncio.create_task(self._write())
        if self._is_closed:
            self._reader.cancel()
        try:
            done, _ = await asyncio.wait({self._reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
        finally:
            for task in (self._reader, writer):
                task.cancel()
            await asyncio.gather(self._reader, writer, return_exceptions=True)
            for stream in self._streams.values():
                stream.fail(Code.NODE_UNREACHABLE)

    async def _read(self, first: Sequence[Frame]) -> None:
        for frame in first:
            self._on_frame(frame)
        while (message := await self._receive()) is not None:
            for frame in frames.decode(message):
                self._on_frame(frame)

    async def _receive(self) -> bytes | None:
        """Return the next message, or None when the node is gone or silent for too long. Any byte counts as life."""
        try:
            async with asyncio.timeout(TUNNEL_PING_AFTER_S):
                return await self._websocket.receive_bytes()
        except TimeoutError:
            self._send(Frame(FrameType.PING))
        except (WebSocketDisconnect, KeyError):  # KeyError: a text message
            return None
        try:
            async with asyncio.timeout(TUNNEL_DEAD_AFTER_S - TUNNEL_PING_AFTER_S):
                return await self._websocket.receive_bytes()
        except (TimeoutError, WebSocketDisconnect, KeyError):
            return None

    def _on_frame(self, frame: Frame) -> None:
        match frame.type:
            case FrameType.PING:
                self._send(Frame(FrameType.PONG))
            case FrameType.PONG | FrameType.ACK:
                pass
            case FrameType.STATUS:
                self.status = msgspec.msgpack.decode(frame.payload, type=NodeStatus)
                self._on_status()
            case FrameType.OPEN | FrameType.DATA | FrameType.END | FrameType.RESET | FrameType.WINDOW:
                self._on_stream_frame(frame)
            case _:
                raise FrameError(Fault.ORDER, f"{frame.type.name} out of place")

    def _on_stream_frame(self, frame: Frame) -> None:
        if frame.stream == 0 or frame.stream % 2 or frame.stream > self._last_stream:
            raise FrameError(Fault.STREAM, "no such stream")
        # A frame of a stream that is over crossed our RESET on the way.
        if (stream := self._streams.get(frame.stream)) is not None:
            stream.on_frame(frame)

    def _send(self, frame: Frame) -> None:
        is_ordered = frame.type in {FrameType.OPEN, FrameType.DATA, FrameType.END, FrameType.RESET}
        (self._ordered if is_ordered else self._urgent).append(frame)
        self._wake.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while message := self._next_message():
                await self._websocket.send_bytes(message)

    def _next_message(self) -> bytes:
        message = bytearray()
        for account_id, head in self._pokes.items():
            payload = msgspec.msgpack.encode(PokePayload(account_id, head))
            message += frames.encode(Frame(FrameType.POKE, payload=payload))
        self._pokes.clear()
        for waiting in (self._urgent, self._ordered):
            while waiting and len(message) < MESSAGE_BYTES:
                message += frames.encode(waiting.popleft())
        return bytes(message)
