"""The node's WebSocket to the server: how a phone far away reaches a PC that nobody can call (rules T1-T6)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from inference_node.server.backoff import Backoff
from inference_node.server.server_api import Unreachable
from inference_node.server.tunnel_stream import TunnelStream
from shared import frames
from shared.errors import Code, DomovoiError
from shared.frames import Frame, FrameError, FrameType, HelloPayload, OpenRequest, PokePayload, ResetPayload
from shared.identifiers import from_hex
from shared.limits import (
    ACCOUNT_ID_BYTES,
    MAX_FRAME_PAYLOAD_BYTES,
    TUNNEL_DEAD_AFTER_S,
    TUNNEL_PING_AFTER_S,
    TUNNEL_WELCOME_S,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from inference_node.endpoints.status import Status
    from inference_node.server.grants import Grants

log = logging.getLogger(__name__)

# Frames that wait are sent together up to this size.
MESSAGE_BYTES = 2 * MAX_FRAME_PAYLOAD_BYTES
MAX_MESSAGE_BYTES = 16 * MAX_FRAME_PAYLOAD_BYTES
# A connection that held this long was a good one: the next failure starts with short waits again, seconds.
STABLE_AFTER_S = 10.0
SESSION_BYTES = 16
NOT_PAIRED = (
    "this PC is not paired with %s. Choose House, Add a PC in the app there, and run here: domovoi node pair %s"
)

_ORDERED = frozenset({FrameType.OPEN, FrameType.DATA, FrameType.END, FrameType.RESET})


class Tunnel:
    """Stays connected, and serves what comes through. `on_poke` is called with an account, or None for all."""

    def __init__(
        self,
        server_url: str,
        grants: Grants,
        status: Status,
        application: ASGIApp,
        on_poke: Callable[[bytes | None], None],
    ) -> None:
        self._server_url = server_url
        self._url = f"{server_url.replace('http', 'ws', 1).rstrip('/')}/tunnel"
        self._grants = grants
        self._status = status
        self._application = application
        self._on_poke = on_poke
        self._session = secrets.token_hex(SESSION_BYTES)
        self._connection: _Connection | None = None
        self._grants_wanted = asyncio.Event()
        self._refusal: Code | None = None

    def status_changed(self) -> None:
        """Tell the server how the node is now."""
        if self._connection is not None:
            self._connection.tell_status()

    async def run(self) -> None:
        """Connect, and connect again, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refresh_grants())
            await self._stay_connected()

    async def _stay_connected(self) -> None:
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await self._connect()
            except (OSError, TimeoutError, InvalidHandshake, InvalidMessage, ConnectionClosed) as error:
                log.info("no tunnel to the server: %s", str(error) or type(error).__name__)
            except (ValueError, msgspec.MsgspecError) as error:
                log.warning("the server broke the tunnel's protocol: %s", error)
            except DomovoiError as error:
                self._note_refusal(error)
            if loop.time() - started > STABLE_AFTER_S:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    def _note_refusal(self, error: DomovoiError) -> None:
        """Say it once: the node asks again twice a minute, and until it is paired the answer is the same."""
        if error.code is not self._refusal:
            if error.code is Code.NODE_UNKNOWN:
                log.warning(NOT_PAIRED, self._server_url, self._server_url)
            else:
                log.warning("the server refuses this node: %s", error.detail)
        self._refusal = error.code

    async def _connect(self) -> None:
        async with connect(
            self._url, max_size=MAX_MESSAGE_BYTES, ping_interval=None, compression=None, open_timeout=TUNNEL_WELCOME_S
        ) as websocket:
            hello = HelloPayload(self._session, epoch=0, last_rx=0, caps=[], token=self._grants.assertion())
            await websocket.send(frames.encode(Frame(FrameType.HELLO, payload=msgspec.msgpack.encode(hello))))
            async with asyncio.timeout(TUNNEL_WELCOME_S):
                first, *rest = frames.decode(_bytes(await websocket.recv()))
            if first.type is FrameType.GOAWAY:
                raise _refusal(first)
            if first.type is not FrameType.WELCOME:
                raise FrameError("WELCOME comes first")
            log.info("connected to the server")
            self._refusal = None
            # What was poked while the node was away is lost; grants and logs are looked at anew.
            self._grants_wanted.set()
            self._connection = _Connection(websocket, self._application, self._status, self._poked)
            try:
                await self._connection.run(rest)
            finally:
                self._connection = None

    def _poked(self, poke: PokePayload) -> None:
        if poke.account_id:
            self._on_poke(from_hex(poke.account_id, ACCOUNT_ID_BYTES))
        else:
            self._grants_wanted.set()

    async def _refresh_grants(self) -> None:
        """Log in when something says so; until it works, again and again."""
        backoff = Backoff()
        while True:
            await self._grants_wanted.wait()
            self._grants_wanted.clear()
            try:
                await self._grants.refresh()
                backoff.reset()
            except (DomovoiError, Unreachable) as error:
                log.info("can't log in to the server: %s", error)
                await asyncio.sleep(backoff.next())
                # Without a tunnel, connecting will ask for it.
                if self._connection is not None:
                    self._grants_wanted.set()


class _Connection:
    """One WebSocket after WELCOME."""

    def __init__(
        self,
        websocket: ClientConnection,
        application: ASGIApp,
        status: Status,
        on_poke: Callable[[PokePayload], None],
    ) -> None:
        self._websocket = websocket
        self._application = application
        self._status = status
        self._on_poke = on_poke
        self._streams: dict[int, TunnelStream] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._last_stream = 0
        self._urgent: deque[Frame] = deque()
        self._ordered: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._told = b""
        self.tell_status()

    def tell_status(self) -> None:
        """Send the status if it is another than the one sent last."""
        status = msgspec.msgpack.encode(self._status.now())
        if status != self._told:
            self._told = status
            self._send(Frame(FrameType.STATUS, payload=status))

    async def run(self, first: list[Frame]) -> None:
        """Read and write until the connection ends. Raises what ended it."""
        writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read(first))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            await (reader if reader.done() else writer)
        finally:
            reader.cancel()
            writer.cancel()
            for stream in self._streams.values():
                stream.abandon()
            for call in self._calls:
                call.cancel()
            await asyncio.gather(reader, writer, *self._calls, return_exceptions=True)

    async def _read(self, first: list[Frame]) -> None:
        for frame in first:
            self._on_frame(frame)
        while True:
            for frame in frames.decode(await self._receive()):
                self._on_frame(frame)

    async def _receive(self) -> bytes:
        """Return the next message. Any byte counts as life. Raises TimeoutError when the server is silent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TUNNEL_PING_AFTER_S):
                return _bytes(await self._websocket.recv())
        self._send(Frame(FrameType.PING))
        async with asyncio.timeout(TUNNEL_DEAD_AFTER_S - TUNNEL_PING_AFTER_S):
            return _bytes(await self._websocket.recv())

    def _on_frame(self, frame: Frame) -> None:
        match frame.type:
            case FrameType.PING:
                self._send(Frame(FrameType.PONG))
            case FrameType.PONG | FrameType.ACK:
                pass
            case FrameType.POKE:
                self._on_poke(msgspec.msgpack.decode(frame.payload, type=PokePayload))
            case FrameType.GOAWAY:
                raise _refusal(frame)
            case FrameType.OPEN:
                self._open(frame)
            case FrameType.DATA | FrameType.END | FrameType.RESET | FrameType.WINDOW:
                if frame.stream == 0 or frame.stream > self._last_stream:
                    raise FrameError("no such stream")
                # A frame of a stream that is over crossed our END on the way.
                if (stream := self._streams.get(frame.stream)) is not None:
                    stream.on_frame(frame)
            case _:
                raise FrameError(f"{frame.type.name} out of place")

    def _open(self, frame: Frame) -> None:
        if frame.stream % 2 or frame.stream <= self._last_stream:
            raise FrameError("a stream out of order")
        self._last_stream = frame.stream
        request = msgspec.msgpack.decode(frame.payload, type=OpenRequest)
        stream = self._streams[frame.stream] = TunnelStream(frame.stream, request, self._send)
        call = asyncio.create_task(stream.run(self._application), name=f"call {frame.stream}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        call.add_done_callback(lambda _: self._streams.pop(stream.number, None))

    def _send(self, frame: Frame) -> None:
        (self._ordered if frame.type in _ORDERED else self._urgent).append(frame)
        self._wake.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while message := self._next_message():
                await self._websocket.send(message)

    def _next_message(self) -> bytes:
        message = bytearray()
        for waiting in (self._urgent, self._ordered):
            while waiting and len(message) < MESSAGE_BYTES:
                message += frames.encode(waiting.popleft())
        return bytes(message)


def _bytes(message: str | bytes) -> bytes:
    if isinstance(message, str):
        raise FrameError("a text message")
    return message


def _refusal(frame: Frame) -> DomovoiError:
    code = msgspec.msgpack.decode(frame.payload, type=ResetPayload).code if frame.payload else ""
    return DomovoiError(Code(code) if code in set(Code) else Code.NODE_UNREACHABLE)
