"""The node's WebSocket to its server (rules T1-T6): connects, stays, serves the calls that come through."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from inference_node.backoff import Backoff
from inference_node.tunnel_call import TunnelCall
from shared import frames
from shared.errors import Code
from shared.frames import Frame, FrameError, FrameType, HelloPayload, OpenRequest, PokePayload, ResetPayload
from shared.identifiers import from_hex
from shared.limits import (
    MAX_FRAME_PAYLOAD_BYTES,
    TUNNEL_DEAD_AFTER_S,
    TUNNEL_PING_AFTER_S,
    TUNNEL_WELCOME_S,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from websockets.asyncio.client import ClientConnection

    from inference_node.accounts import Accounts
    from inference_node.clock import Clock
    from inference_node.identity import Identity
    from inference_node.status import Status

log = logging.getLogger(__name__)

# A connection that held this long was a good one: the next break begins the pauses anew.
STABLE_S = 10.0
MAX_MESSAGE_BYTES = 16 * MAX_FRAME_PAYLOAD_BYTES
# Frames that wait are sent together up to this size.
MESSAGE_BYTES = 2 * MAX_FRAME_PAYLOAD_BYTES
MAX_CALLS = 256
_BROKEN = (OSError, TimeoutError, ConnectionClosed, InvalidHandshake, FrameError, msgspec.MsgspecError)


class Tunnel:
    """Keeps one connection up. `application` is the remote one."""

    def __init__(
        self,
        server_url: str,
        identity: Identity,
        clock: Clock,
        accounts: Accounts,
        status: Status,
        application: ASGIApp,
    ) -> None:
        self._url = "ws" + server_url.removeprefix("http").rstrip("/") + "/tunnel"
        self._identity = identity
        self._clock = clock
        self._accounts = accounts
        self._status = status
        self._application = application
        self._failure = ""
        self._connection: _Connection | None = None

    @property
    def is_up(self) -> bool:
        """Whether the server has welcomed this node."""
        return self._connection is not None

    @property
    def open_calls(self) -> int:
        """How many relayed calls are going on."""
        return 0 if self._connection is None else len(self._connection)

    async def run(self) -> None:
        """Connect, and again after every break, until cancelled."""
        backoff = Backoff()
        while True:
            await asyncio.sleep(backoff.next_s())
            started = asyncio.get_running_loop().time()
            try:
                async with connect(
                    self._url,
                    compression=None,
                    max_size=MAX_MESSAGE_BYTES,
                    open_timeout=TUNNEL_WELCOME_S,
                    # The tunnel has a heartbeat of its own.
                    ping_interval=None,
                    proxy=None,
                ) as websocket:
                    await self._serve(websocket)
            except InvalidURI as error:
                self._note(f"{error}; check the server's address")
            except _BROKEN as error:
                self._note(str(error) or type(error).__name__)
            if asyncio.get_running_loop().time() - started > STABLE_S:
                backoff.reset()

    async def _serve(self, websocket: ClientConnection) -> None:
        """Say HELLO and serve until the connection ends. Raises one of _BROKEN."""
        hello = HelloPayload(
            session=secrets.token_hex(16),
            epoch=0,
            last_rx=0,
            caps=[],
            token=self._identity.assertion(self._clock.now_s()),
        )
        await websocket.send(frames.encode(Frame(FrameType.HELLO, payload=msgspec.msgpack.encode(hello))))
        async with asyncio.timeout(TUNNEL_WELCOME_S):
            first, *rest = frames.decode(_binary(await websocket.recv()))
        if first.type is FrameType.GOAWAY:
            raise FrameError(f"the server refuses this node: {_reason(first)}")
        if first.type is not FrameType.WELCOME:
            raise FrameError("WELCOME comes first")
        if self._failure:
            log.info("connected to the server again")
        self._failure = ""
        # Pokes were missed, and grants may have changed.
        self._accounts.log_in_soon()
        self._accounts.wake()
        self._connection = _Connection(websocket, self._application, self._accounts, self._status)
        try:
            await self._connection.run(rest)
        finally:
            self._connection = None

    def _note(self, failure: str) -> None:
        # Once for each reason: a server that is away for days must not fill the log.
        if failure != self._failure:
            log.warning("no tunnel to the server: %s", failure)
            self._failure = failure


class _Connection:
    """One WebSocket after WELCOME."""

    def __init__(self, websocket: ClientConnection, application: ASGIApp, accounts: Accounts, status: Status) -> None:
        self._websocket = websocket
        self._application = application
        self._accounts = accounts
        self._status = status
        self._calls: dict[int, TunnelCall] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._last_call = 0
        self._urgent: deque[Frame] = deque()
        self._ordered: deque[Frame] = deque()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._calls)

    async def run(self, first: list[Frame]) -> None:
        """Read, write and tell the status until the connection ends. Raises one of _BROKEN."""
        tasks = [asyncio.create_task(work) for work in (self._read(first), self._write(), self._tell_status())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for call in self._calls.values():
                call.abandon()
            # A call's task ends by its own disconnect; only what ignores that is cancelled.
            for task in [*tasks, *self._tasks.values()]:
                task.cancel()
            await asyncio.gather(*tasks, *self._tasks.values(), return_exceptions=True)

    async def _read(self, first: list[Frame]) -> None:
        for frame in first:
            self._on_frame(frame)
        while True:
            for frame in frames.decode(await self._next_message()):
                self._on_frame(frame)

    async def _next_message(self) -> bytes:
        """Return the next message. Any byte counts as life. Raises TimeoutError when the server is silent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TUNNEL_PING_AFTER_S):
                return _binary(await self._websocket.recv())
        self._send(Frame(FrameType.PING))
        async with asyncio.timeout(TUNNEL_DEAD_AFTER_S - TUNNEL_PING_AFTER_S):
            return _binary(await self._websocket.recv())

    def _on_frame(self, frame: Frame) -> None:
        match frame.type:
            case FrameType.PING:
                self._send(Frame(FrameType.PONG))
            case FrameType.PONG | FrameType.ACK:
                pass
            case FrameType.POKE:
                self._on_poke(msgspec.msgpack.decode(frame.payload, type=PokePayload))
            case FrameType.GOAWAY:
                raise FrameError(f"the server says goodbye: {_reason(frame)}")
            case FrameType.OPEN:
                self._on_open(frame)
            case FrameType.DATA | FrameType.END | FrameType.RESET | FrameType.WINDOW:
                # A frame of a call that is over crossed our END on the way.
                if (call := self._calls.get(frame.stream)) is not None:
                    call.on_frame(frame)
            case _:
                raise FrameError(f"{frame.type.name} out of place")

    def _on_poke(self, poke: PokePayload) -> None:
        if not poke.account_id:
            self._accounts.log_in_soon()
            return
        with suppress(ValueError):
            self._accounts.wake(from_hex(poke.account_id))

    def _on_open(self, frame: Frame) -> None:
        if frame.stream % 2 or frame.stream <= self._last_call:
            raise FrameError("a call has the next even number")
        self._last_call = frame.stream
        if len(self._calls) >= MAX_CALLS:
            payload = msgspec.msgpack.encode(ResetPayload(Code.ENGINE_BUSY))
            self._send(Frame(FrameType.RESET, frame.stream, payload))
            return
        request = msgspec.msgpack.decode(frame.payload, type=OpenRequest)
        call = TunnelCall(frame.stream, request, self._send)
        self._calls[frame.stream] = call
        task = asyncio.create_task(call.run(self._application))
        self._tasks[frame.stream] = task
        task.add_done_callback(lambda _: self._forget(frame.stream))

    def _forget(self, number: int) -> None:
        self._calls.pop(number, None)
        self._tasks.pop(number, None)

    def _send(self, frame: Frame) -> None:
        is_ordered = frame.type in {FrameType.OPEN, FrameType.DATA, FrameType.END, FrameType.RESET}
        (self._ordered if is_ordered else self._urgent).append(frame)
        self._wake.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while message := self._waiting():
                await self._websocket.send(message)

    def _waiting(self) -> bytes:
        message = bytearray()
        for queue in (self._urgent, self._ordered):
            while queue and len(message) < MESSAGE_BYTES:
                message += frames.encode(queue.popleft())
        return bytes(message)

    async def _tell_status(self) -> None:
        told = None
        while True:
            self._status.changed.clear()
            current = await asyncio.to_thread(self._status.current)
            if current != told:
                told = current
                self._send(Frame(FrameType.STATUS, payload=msgspec.msgpack.encode(current)))
            await self._status.changed.wait()


def _binary(message: str | bytes) -> bytes:
    if isinstance(message, str):
        raise FrameError("a text message")
    return message


def _reason(frame: Frame) -> str:
    return msgspec.msgpack.decode(frame.payload, type=ResetPayload).code if frame.payload else "no reason given"
