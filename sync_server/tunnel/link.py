"""One node as the server sees it: its session, the transport that carries it, and the calls inside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from shared.errors import Code, DomovoiError
from shared.limits import MAX_ADDRESS_CHARACTERS
from shared.tunnel.events import Event, Over, SessionEnd, Told, TransportFailed
from shared.tunnel.frames import Fault, Frame, FrameType
from shared.tunnel.handshake import accept
from shared.tunnel.payloads import HelloPayload, OpenRequest, PokePayload, write
from sync_server.tunnel.call import Call, StreamEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shared.tunnel.session import Session
    from shared.wire import Departure, Transport

# A tick that nothing could be sent at is not repeated sooner, seconds.
LEAST_TICK_S = 0.05

# Nothing comes, or nothing that moves.
_SILENT = {Fault.SILENCE, Fault.STUCK}


class Carrier(Protocol):
    """A transport that has said HELLO, of which kind, and where from."""

    kind: Transport
    address: str

    def wake(self) -> None:
        """The session may have something to send."""

    def close(self, last: bytes = b"") -> None:
        """End it, after this last message."""


class Link:
    """Outlives the node's sessions. `on_status` gets each STATUS; `on_change` hears that a transport came or went."""

    def __init__(self, on_status: Callable[[bytes], None], on_change: Callable[[], None]) -> None:
        self._on_status = on_status
        self._on_change = on_change
        self._session: Session | None = None
        self._carrier: Carrier | None = None
        self._calls: dict[int, Call] = {}
        self._address = ""
        # How the node went, while it is away (rule T8).
        self.departure: Departure | None = None
        self._loop = asyncio.get_running_loop()
        self._tick: asyncio.TimerHandle | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a transport carries the session now."""
        return self._session is not None and self._session.is_attached

    @property
    def is_over(self) -> bool:
        """Whether there is no session that could go on."""
        return self._session is None or self._session.end is not None

    @property
    def transport(self) -> Transport | None:
        """What carries the session now."""
        return None if self._carrier is None else self._carrier.kind

    @property
    def address(self) -> str:
        """Where the node was last seen at; empty before it came."""
        return self._address

    # For the relay.

    def open(self, request: OpenRequest) -> Call:
        """Start a call to the node, which waits while the node changes its transport.

        Raises DomovoiError node_unreachable, engine_busy, body_too_large.
        """
        if self._session is None:
            raise DomovoiError(Code.NODE_UNREACHABLE)
        streams = self._session.streams
        number = streams.open(write(request))
        call = Call(number, streams, self.flush, lambda: self._forget(number, call))
        self._calls[number] = call
        self.flush()
        return call

    def poke(self, account_id: str, head: int) -> None:
        """Tell the node that a log moved; with an empty account, that its grants changed."""
        if self._session is not None:
            self._session.tell(FrameType.POKE, write(PokePayload(account_id, head)), account_id.encode())
            self.flush()

    def refuse_waiting(self) -> None:
        """End the calls that the node has not begun to answer; those that it has may go on when it is back."""
        for call in tuple(self._calls.values()):
            call.refuse()
        self.flush()

    def close(self) -> None:
        """End the session: the server stops."""
        if self._session is not None:
            self._session.close()
        self.flush()

    # For transports.

    def greet(self, greeting: HelloPayload, carrier: Carrier) -> Frame | None:
        """Let a transport carry the node's session; return the WELCOME, or None when it is an older one."""
        before = self._session
        accepted = accept(before, greeting, self._loop.time(), carrier.address[:MAX_ADDRESS_CHARACTERS])
        if accepted is None:
            return None
        self._session = accepted.session
        older, self._carrier = self._carrier, carrier
        self._address = carrier.address
        self.departure = None
        last = b""
        if before is not None and before is not accepted.session:
            last = before.outgoing(self._loop.time())
            self._take(before)
            self._calls.clear()
        if older is not None:
            older.close(last)
        self._plan()
        self._on_change()
        return accepted.welcome

    def outgoing(self, carrier: Carrier, most_bytes: int) -> bytes:
        """Return the next message for this transport."""
        if carrier is not self._carrier or self._session is None:
            return b""
        message = self._session.outgoing(self._loop.time(), most_bytes)
        self._dispatch()
        return message

    def receive(self, carrier: Carrier, frames: Iterable[Frame]) -> None:
        """Take what came on a transport."""
        if carrier is self._carrier and self._session is not None:
            self._session.receive(self._session.epoch, frames, self._loop.time())
            self.flush()

    def polled(self, carrier: Carrier, last_rx: int) -> None:
        """A request for more came."""
        if carrier is self._carrier and self._session is not None:
            self._session.polled(self._session.epoch, last_rx, self._loop.time())
            self.flush()

    def take_ack(self, carrier: Carrier) -> bytes:
        """Return the answer to a post; empty when another transport carries the session."""
        return self._session.take_ack() if carrier is self._carrier and self._session is not None else b""

    def carries(self, carrier: Carrier) -> bool:
        """Return whether this transport carries the session."""
        return carrier is self._carrier

    def lost(self, carrier: Carrier) -> None:
        """A transport has ended."""
        if carrier is self._carrier:
            self._carrier = None
            self.departure = "lost"
            if self._session is not None:
                self._session.detach(self._session.epoch, self._loop.time())
            self.flush()
            self._on_change()

    # Inside.

    def flush(self) -> None:
        """Tell who waits what happened, and have sent what is to be sent."""
        self._dispatch()
        if self._carrier is not None:
            self._carrier.wake()
        self._plan()

    def _dispatch(self) -> None:
        if self._session is not None:
            self._take(self._session)

    def _take(self, session: Session) -> None:
        while events := session.take_events():
            for event in events:
                self._on_event(event, is_current=session is self._session)
        if session.end is not None and session is self._session and self._carrier is not None:
            carrier, self._carrier = self._carrier, None
            last = session.outgoing(self._loop.time())
            carrier.close(last)
            self._on_change()

    def _on_event(self, event: Event, *, is_current: bool) -> None:
        match event:
            case Told(FrameType.STATUS, payload):
                self._on_status(payload)
            case Over(end, detail) if is_current:
                self.departure = _departure_at(end, detail, self.departure)
            case TransportFailed(_, fault):
                self.departure = "silent" if fault in _SILENT else "lost"
                carrier, self._carrier = self._carrier, None
                if carrier is not None:
                    carrier.close()
                    self._on_change()
            case _ if isinstance(event, StreamEvent):
                if (call := self._calls.get(event.stream)) is not None:
                    call.on_event(event)
                elif self._session is not None:
                    # The node calls nothing at the server.
                    self._session.streams.reset(event.stream, Code.NOT_FOUND)
            case _:
                pass

    def _forget(self, number: int, call: Call) -> None:
        if self._calls.get(number) is call:
            del self._calls[number]

    def _plan(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if self._session is None or self._session.end is not None:
            return
        now = self._loop.time()
        at = max(self._session.next_tick(now), now + LEAST_TICK_S)
        self._tick = self._loop.call_at(at, self._on_tick)

    def _on_tick(self) -> None:
        if self._session is not None:
            self._session.tick(self._loop.time())
        self.flush()


def _departure_at(end: SessionEnd, detail: str, known: Departure | None) -> Departure | None:
    """Return how a node goes whose session ends so, where its transport may have told already."""
    if end is SessionEnd.PEER:
        return "stopped" if detail == SessionEnd.CLOSED else "lost"
    # It is we who stop: nothing is known of the node.
    return None if end is SessionEnd.CLOSED else known or "lost"
