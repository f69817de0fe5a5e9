"""A TCP proxy between node and server that treats WebSockets badly, and cuts connections at any byte."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from enum import Enum, auto

HTML = b"<html>Please log in to this network.</html>"
PORTAL = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
    len(HTML),
    HTML,
)
REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
PIECE_BYTES = 16 * 1024


class Mode(Enum):
    """What becomes of a new connection."""

    OPEN = auto()
    WEBSOCKETS_REFUSED = auto()
    WEBSOCKETS_SWALLOWED = auto()
    PORTAL = auto()


@dataclass
class FaultProxy:
    """Listens at `port`. `most_bytes` is how much of an answer a WebSocket may bring before it is cut."""

    target: int
    port: int = 0
    mode: Mode = Mode.OPEN
    most_bytes: int | None = None
    connections: int = 0
    websockets: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _frozen: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """Let nothing through any more on the connections that there are, as when an address is gone."""
        self._frozen |= self._open

    def cut(self) -> None:
        """Break every connection, as a reset does."""
        for writer in self._open:
            writer.transport.abort()

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
        head = await reader.readuntil(b"\r\n\r\n")
        is_websocket = b"upgrade: websocket" in head.lower()
        self.websockets += is_websocket
        if self.mode is Mode.PORTAL or (is_websocket and self.mode is Mode.WEBSOCKETS_REFUSED):
            writer.write(PORTAL if self.mode is Mode.PORTAL else REFUSAL)
            await writer.drain()
            writer.write_eof()
            await reader.read(1)
            return
        if is_websocket and self.mode is Mode.WEBSOCKETS_SWALLOWED:
            await asyncio.Event().wait()
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._open.add(there_writer)
        try:
            there_writer.write(head)
            most = self.most_bytes if is_websocket else None
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, there_writer, most))
                pumps.create_task(self._pump(there_reader, writer, most))
        except* OSError:
            pass
        finally:
            self._open.discard(there_writer)
            there_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
        carried = 0
        while piece := await reader.read(PIECE_BYTES):
            if writer in self._frozen:
                await asyncio.Event().wait()
            if most is not None and carried + len(piece) > most:
                writer.write(piece[: most - carried])
                raise ConnectionResetError("cut here")
            carried += len(piece)
            writer.write(piece)
            await writer.drain()
        raise ConnectionResetError("the other side is done")
