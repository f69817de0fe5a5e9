"""Keeps the node's session with the server going: tries transports, serves what comes, begins anew (rules N)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
from typing import TYPE_CHECKING, Protocol

from inference_node.tunnel.call import Call, StreamEvent
from inference_node.tunnel.polling import PollingTransport
from inference_node.tunnel.sleep import watch_sleep
from inference_node.tunnel.transport import TransportError
from inference_node.tunnel.websocket import WebSocketTransport
from shared.errors import Code
from shared.tunnel.events import Event, Opened, Told, TransportFailed
from shared.tunnel.frames import FrameError, FrameType, encode
from shared.tunnel.handshake import hello, settle
from shared.tunnel.heartbeat import Health
from shared.tunnel.limits import SESSION_BYTES
from shared.tunnel.machine import Action, Ask, Carry, Close, Connect, Failure, Kind, Machine, State
from shared.tunnel.payloads import OpenRequest, PokePayload, unpack
from shared.tunnel.session import Session
from shared.tunnel.table import Side

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from starlette.types import ASGIApp

    from inference_node.tunnel.transport import Transport
    from shared.tunnel.frames import Frame

log = logging.getLogger(__name__)

# A tick that nothing could be sent at is not repeated sooner, seconds.
LEAST_TICK_S = 0.05
# How long a node that stops waits for its last word to be sent, seconds.
GOODBYE_S = 1.0


class Listener(Protocol):
    """What the client asks of the rest of the node, and tells it."""

    def assertion(self) -> str:
        """Sign a login that can be used once."""

    def welcomed(self) -> None:
        """A transport is up: what is told is to be told anew, and what was poked meanwhile is lost."""

    def poked(self, poke: PokePayload) -> None:
        """The server says that something moved."""

    def denied(self) -> None:
        """The server does not take this node's login; nothing is tried until `credentials_changed`."""


class Client:
    """One node's session, for ever."""

    def __init__(self, server_url: str, application: ASGIApp, listener: Listener, random: Random) -> None:
        self._url = server_url
        self._application = application
        self._listener = listener
        self._machine = Machine(random)
        self._loop = asyncio.get_running_loop()
        self._session = self._new_session()
        self._transports: dict[int, tuple[Transport, asyncio.Task[None]]] = {}
        self._greeted: dict[int, str] = {}
        self._calls: dict[int, Call] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._tick: asyncio.TimerHandle | None = None
        self._is_stopping = False
        self._has_said_goodbye = asyncio.Event()

    @property
    def state(self) -> State:
        """Which transport carries the session, or what is tried."""
        return self._machine.state

    @property
    def seen_at(self) -> str:
        """Where the server sees this PC at, as it said when the newest transport came up; empty before."""
        return self._session.seen_at

    def tell_status(self, status: bytes) -> bool:
        """Tell the server how the node is; return False when no transport is up, and it is to be told later."""
        is_told = self._session.tell(FrameType.STATUS, status)
        self.flush()
        return is_told

    def network_changed(self) -> None:
        """The machine woke up or has another address."""
        self._act(self._machine.network_changed(self._now))

    def credentials_changed(self) -> None:
        """The node was paired anew."""
        self._act(self._machine.credentials_changed(self._now))

    async def run(self) -> None:
        """Stay connected until cancelled; then end the session."""
        self._act(self._machine.start(self._now))
        try:
            await watch_sleep(self.network_changed)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        """Tell the server, if a transport is up, and end everything."""
        self._is_stopping = True
        if self._session.is_attached:
            self._session.close()
            self.flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._has_said_goodbye.wait()
        if self._tick is not None:
            self._tick.cancel()
        tasks = [task for _, task in self._transports.values()] + list(self._running)
        for task in tasks:
            task.cancel()
        self._transports.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    # For the transports.

    def hello(self, epoch: int) -> bytes:
        """Return a new HELLO, which can be sent once."""
        self._greeted[epoch] = self._session.identifier
        return encode(hello(self._session, epoch, [], self._listener.assertion()))

    def welcomed(self, epoch: int, frame: Frame) -> None:
        """The first frame came. Raises TransportError when it is no WELCOME."""
        if epoch not in self._transports:
            return
        # The machine is asked first: it may have another transport already.
        actions = self._machine.welcomed(epoch, self._now)
        if Carry(epoch) in actions:
            before = self._session
            try:
                self._session = settle(before, self._greeted[epoch], epoch, frame, self._now)
            except FrameError as error:
                self._act(actions)
                raise TransportError(Failure.REFUSED, str(error)) from error
            if self._session is not before:
                self._take(before)
                # The new session numbers its calls from the beginning.
                self._calls.clear()
            log.info("connected to the server (%s)", self._machine.state.name)
        self._act(actions)
        self._listener.welcomed()
        self.flush()

    def receive(self, epoch: int, frames: Iterable[Frame], *, is_life: bool = True) -> None:
        """Take what came."""
        self._session.receive(epoch, frames, self._now, is_life=is_life)
        self.flush()

    def heard(self, epoch: int) -> None:
        """Something came that has no frames in it."""
        self._session.heard(epoch, self._now)

    def outgoing(self, epoch: int, most_bytes: int, most_frames: int | None = None) -> bytes:
        """Return the next message for this transport."""
        if epoch != self._session.epoch:
            return b""
        message = self._session.outgoing(self._now, most_bytes, most_frames)
        self._take(self._session)
        if self._session.end is not None and not message:
            self._has_said_goodbye.set()
        return message

    def take_poll(self) -> int:
        """Return the `last_rx` of the next request for more."""
        return self._session.take_poll()

    # Inside.

    @property
    def _now(self) -> float:
        return self._loop.time()

    def _new_session(self) -> Session:
        return Session(secrets.token_hex(SESSION_BYTES), Side.NODE, self._now)

    def flush(self) -> None:
        """Tell who waits what happened, have sent what is to be sent, and plan when to look again."""
        self._take(self._session)
        if self._session.end is not None and not self._is_stopping:
            self._begin_anew()
        if (carrier := self._transports.get(self._session.epoch)) is not None:
            carrier[0].news.set()
        self._plan()

    def _take(self, session: Session) -> None:
        while events := session.take_events():
            for event in events:
                self._on_event(session, event)

    def _on_event(self, session: Session, event: Event) -> None:
        match event:
            case TransportFailed(epoch, fault):
                log.info("the tunnel's transport is given up: %s", fault)
                self._failed(epoch, Failure.DEAD)
            case Told(FrameType.POKE, payload):
                try:
                    self._listener.poked(unpack(payload, PokePayload))
                except FrameError as error:
                    log.warning("a poke that can't be read: %s", error)
            case Opened(number, payload) if number not in self._calls:
                self._serve(session, number, payload)
            case _ if isinstance(event, StreamEvent):
                if (call := self._calls.get(event.stream)) is not None:
                    call.on_event(event)
            case _:
                pass

    def _serve(self, session: Session, number: int, payload: bytes) -> None:
        try:
            request = unpack(payload, OpenRequest)
        except FrameError as error:
            log.warning("a call that can't be read: %s", error)
            session.streams.reset(number, Code.BAD_REQUEST)
            return
        call = self._calls[number] = Call(number, request, session.streams, self.flush)
        task = asyncio.create_task(call.run(self._application), name=f"call {number}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: self._forget(number, call))

    def _forget(self, number: int, call: Call) -> None:
        if self._calls.get(number) is call:
            del self._calls[number]

    def _begin_anew(self) -> None:
        """The session is over. Its calls hear of it, and the next transport begins another."""
        over = self._session
        log.info("the tunnel's session is over: %s", over.end)
        self._calls.clear()
        self._session = self._new_session()
        self._failed(over.epoch, Failure.CLOSED)

    def _failed(self, epoch: int, failure: Failure) -> None:
        if epoch in self._transports:
            self._close(epoch)
            self._act(self._machine.failed(epoch, failure, self._now))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Connect(kind, epoch):
                    self._connect(kind, epoch)
                case Close(epoch):
                    self._close(epoch)
                case Ask():
                    self._session.woke(self._now)
                case _:
                    pass
        self._plan()

    def _connect(self, kind: Kind, epoch: int) -> None:
        make = WebSocketTransport if kind is Kind.WEBSOCKET else PollingTransport
        transport = make(self._url, epoch, self)
        task = asyncio.create_task(self._carry(transport), name=f"tunnel {epoch}")
        self._transports[epoch] = transport, task

    async def _carry(self, transport: Transport) -> None:
        failure = Failure.CLOSED
        try:
            await transport.run()
        except TransportError as error:
            log.info("no tunnel to the server: %s", error)
            failure = error.failure
        finally:
            if self._transports.get(transport.epoch, (None,))[0] is transport:
                del self._transports[transport.epoch]
                self._greeted.pop(transport.epoch, None)
                self._session.detach(transport.epoch, self._now)
                self._act(self._machine.failed(transport.epoch, failure, self._now))
                self.flush()
                if self._machine.state is State.AUTH_STOP:
                    self._listener.denied()

    def _close(self, epoch: int) -> None:
        transport = self._transports.pop(epoch, None)
        if transport is not None:
            self._session.detach(epoch, self._now)
            self._greeted.pop(epoch, None)
            transport[1].cancel()

    def _plan(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        at = min(self._session.next_tick(self._now), self._machine.next_tick)
        if at < math.inf:
            self._tick = self._loop.call_at(max(at, self._now + LEAST_TICK_S), self._on_tick)

    def _on_tick(self) -> None:
        self._act(self._machine.tick(self._now))
        match self._session.health(self._now):
            case Health.SUSPECT:
                self._machine.suspected()
            case Health.ALIVE:
                self._machine.lives()
            case _:
                pass
        self._session.tick(self._now)
        self.flush()
