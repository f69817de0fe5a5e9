"""A TCP proxy with a bad network in it: slow, silent, cut at any byte, and against WebSockets.

What passes through it is not understood, but for the head of a connection's first request.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

HTML = b"<html>Please log in to this network.</html>"
PORTAL = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
    len(HTML),
    HTML,
)
REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
PIECE_BYTES = 16 * 1024
# Pieces under way in one direction; who sends more is held up, as by a network.
MOST_PIECES = 64
# SO_LINGER with zero seconds: closing sends a reset instead of an orderly end.
RESET = struct.pack("ii", 1, 0)


class Mode(Enum):
    """What becomes of a new connection."""

    OPEN = auto()
    # Reset as soon as it is there: nobody listens.
    CLOSED = auto()
    # Taken and then forgotten, as where packets are dropped. `thaw` lets it go on.
    BLACK_HOLE = auto()
    WEBSOCKETS_REFUSED = auto()
    WEBSOCKETS_SWALLOWED = auto()
    PORTAL = auto()


class _Piece(NamedTuple):
    due_s: float
    data: bytes


class _Way:
    """One direction of a connection; nothing passes while it is held."""

    def __init__(self, writer: asyncio.StreamWriter, *, is_down: bool) -> None:
        self.writer = writer
        self.is_down = is_down
        self.is_free = asyncio.Event()
        self.is_free.set()


@dataclass
class FaultProxy:
    """Listens at `port`; every attribute may be changed while it runs, and counts from then on.

    `most_bytes` is how much a WebSocket may bring in either direction before it is cut, `most_s` how long one may last.
    `latency_s` is added in each direction, `bytes_per_s` is what each direction of a connection takes, and what arrives
    is passed on in slices of at most `slice_bytes`.
    """

    target: int
    port: int = 0
    mode: Mode = Mode.OPEN
    most_bytes: int | None = None
    most_s: float | None = None
    host: str = "127.0.0.1"
    target_host: str = "127.0.0.1"
    latency_s: float = 0.0
    bytes_per_s: float | None = None
    slice_bytes: int = PIECE_BYTES
    connections: int = 0
    websockets: int = 0
    # Bytes that were passed on, in both directions.
    carried: int = 0
    _cut_at: int | None = None
    _was_cut: asyncio.Event = field(default_factory=asyncio.Event)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _ways: set[_Way] = field(default_factory=set)
    _swallowed: list[asyncio.Event] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a `port` of 0 becomes a free one."""
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut what is left."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self, *, only_down: bool = False) -> None:
        """Let nothing through any more on the connections that there are, as when an address is gone.

        `only_down`: nothing to those who have connected, as when they do not read.
        """
        for way in self._ways:
            if way.is_down or not only_down:
                way.is_free.clear()

    def thaw(self) -> None:
        """Let everything go on that was held, from the byte where it was."""
        for way in self._ways:
            way.is_free.set()
        for swallowed in self._swallowed:
            swallowed.set()
        self._swallowed.clear()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._open:
            _reset(writer)

    def cut_after(self, count: int) -> asyncio.Event:
        """Reset every connection when so many more bytes have passed; return what is set then."""
        self._cut_at = self.carried + count
        self._was_cut = asyncio.Event()
        return self._was_cut

    def heal(self) -> None:
        """Be a good network again. Connections that were held go on."""
        self.mode, self.most_bytes, self.most_s, self._cut_at = Mode.OPEN, None, None, None
        self.latency_s, self.bytes_per_s, self.slice_bytes = 0.0, None, PIECE_BYTES
        self.thaw()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._carry(reader, writer)
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.CLOSED:
            return _reset(writer)
        if self.mode is Mode.BLACK_HOLE:
            await self._swallow()
        head = await reader.readuntil(b"\r\n\r\n")
        is_websocket = b"upgrade: websocket" in head.lower()
        self.websockets += is_websocket
        if self.mode is Mode.PORTAL or (is_websocket and self.mode is Mode.WEBSOCKETS_REFUSED):
            writer.write(PORTAL if self.mode is Mode.PORTAL else REFUSAL)
            await writer.drain()
            writer.write_eof()
            await reader.read(1)
            return None
        if is_websocket and self.mode is Mode.WEBSOCKETS_SWALLOWED:
            await self._swallow()
        there_reader, there_writer = await asyncio.open_connection(self.target_host, self.target)
        self._open.add(there_writer)
        try:
            there_writer.write(head)
            most = self.most_bytes if is_websocket else None
            most_s = self.most_s if is_websocket else None
            async with asyncio.timeout(most_s), asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, _Way(there_writer, is_down=False), most))
                pumps.create_task(self._pump(there_reader, _Way(writer, is_down=True), most))
        except* OSError:
            pass
        finally:
            self._open.discard(there_writer)
            there_writer.transport.abort()
        return None

    async def _swallow(self) -> None:
        thawed = asyncio.Event()
        self._swallowed.append(thawed)
        await thawed.wait()

    async def _pump(self, reader: asyncio.StreamReader, way: _Way, most: int | None) -> None:
        pieces: asyncio.Queue[_Piece] = asyncio.Queue(MOST_PIECES)
        self._ways.add(way)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(pieces, way, most))
                loop = asyncio.get_running_loop()
                while data := await reader.read(self.slice_bytes):
                    await pieces.put(_Piece(loop.time() + self.latency_s, data))
                await pieces.put(_Piece(loop.time() + self.latency_s, b""))
        except* OSError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._ways.discard(way)

    async def _pass_on(self, pieces: asyncio.Queue[_Piece], way: _Way, most: int | None) -> None:
        loop, passed = asyncio.get_running_loop(), 0
        while True:
            due_s, data = await pieces.get()
            if (wait_s := due_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            await way.is_free.wait()
            if not data:
                raise ConnectionResetError("the other side is done")
            if most is not None and passed + len(data) > most:
                way.writer.write(data[: most - passed])
                raise ConnectionResetError("cut here")
            if self._cut_at is not None and self.carried + len(data) > self._cut_at:
                way.writer.write(data[: self._cut_at - self.carried])
                self._cut_at = None
                self._was_cut.set()
                self.cut()
                return
            passed += len(data)
            self.carried += len(data)
            way.writer.write(data)
            await way.writer.drain()
            if self.bytes_per_s is not None:
                await asyncio.sleep(len(data) / self.bytes_per_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    taken: socket.socket | None = writer.get_extra_info("socket")
    if taken is not None:
        with contextlib.suppress(OSError):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
