"""The two ends of a simulated tunnel: a node with its machine, and a server that knows its current session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shared.tunnel.events import Over, SessionEnd, TransportFailed
from shared.tunnel.frames import MAX_FRAME_BYTES, Fault, Frame, FrameError
from shared.tunnel.handshake import accept, hello, read_hello, settle
from shared.tunnel.heartbeat import Health
from shared.tunnel.limits import (
    MAX_STREAMS,
    MAX_UNACKNOWLEDGED_BYTES,
    MAX_WAITING_CONTROL_BYTES,
    REORDERED_FRAMES,
    STREAM_BUFFER_BYTES,
)
from shared.tunnel.machine import Action, Carry, Close, Connect, Failure, Kind, Machine
from shared.tunnel.session import Session
from shared.tunnel.table import Side
from tests.shared.tunnel.talk import Talker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shared.tunnel.virtual import Virtual

# All that a session may keep: what waits, what is not acknowledged (a message more than the limit), what came early.
MOST_HELD = (
    MAX_STREAMS * STREAM_BUFFER_BYTES
    + 2 * MAX_WAITING_CONTROL_BYTES
    + 2 * MAX_UNACKNOWLEDGED_BYTES
    + REORDERED_FRAMES * MAX_FRAME_BYTES
)


class Transport(Protocol):
    """What an end knows of a transport."""

    def flush(self) -> None: ...
    def close(self) -> None: ...


class End:
    """What both ends have in common: a session, what is said in it, and the time it asks for."""

    def __init__(self, virtual: Virtual, side: Side) -> None:
        self.virtual = virtual
        self.session: Session | None = None
        self.carrier: Transport | None = None
        self.ends: list[SessionEnd] = []
        self.talker = Talker(virtual, side, self.step)
        self._is_stepping = False
        self._ticks_at = float("inf")

    def step(self) -> None:
        """Take what happened, send what is to be sent, and plan the next tick. Safe to call from inside itself."""
        if self._is_stepping:
            return
        self._is_stepping = True
        while self.session is not None and (events := self.session.take_events()):
            session = self.session
            for event in events:
                if isinstance(event, TransportFailed):
                    self.transport_failed(event)
                elif isinstance(event, Over):
                    self.ends.append(event.end)
                    assert event.end is not SessionEnd.PROTOCOL, event.detail
                    assert event.detail not in set(Fault)
                self.talker.on_event(session, event)
            assert session.held_bytes <= MOST_HELD
        self._is_stepping = False
        self.after_step()
        if self.carrier is not None:
            self.carrier.flush()
        self._plan()

    def transport_failed(self, event: TransportFailed) -> None:
        """The session gave its transport up."""
        raise NotImplementedError

    def after_step(self) -> None:
        """What else this end does whenever something happened."""

    def time(self) -> float:
        """Return when to tick."""
        return float("inf") if self.session is None else self.session.next_tick(self.virtual.now)

    def tick(self) -> None:
        """Time has passed."""
        if self.session is not None:
            self.session.tick(self.virtual.now)
        self.step()

    def _plan(self) -> None:
        # Something may be due that no transport can take now: not again in the same moment.
        at = max(self.time(), self.virtual.now + 0.05)
        if at < self._ticks_at:
            self._ticks_at = at
            self.virtual.after(at - self.virtual.now, lambda: self._tick(at))

    def _tick(self, at: float) -> None:
        if at == self._ticks_at:
            self._ticks_at = float("inf")
            self.tick()


class ServerEnd(End):
    """Accepts transports; `carriers` are those that said HELLO, by epoch."""

    def __init__(self, virtual: Virtual) -> None:
        super().__init__(virtual, Side.SERVER)

    def greeted(self, frame: Frame, transport: Transport) -> Frame | None:
        """Take a HELLO, and return the WELCOME, or None: the transport is to be closed."""
        accepted = accept(self.session, read_hello(frame), self.virtual.now)
        if accepted is None:
            return None
        if accepted.ended is not None:
            self.step()
        old, self.carrier = self.carrier, transport
        self.session = accepted.session
        if old is not None and old is not transport:
            old.close()
        return accepted.welcome

    def transport_failed(self, event: TransportFailed) -> None:
        if self.carrier is not None:
            self.carrier.close()
            self.carrier = None

    def after_step(self) -> None:
        if self.session is not None and self.session.end is not None:
            if self.carrier is not None:
                self.carrier.flush()
                self.carrier.close()
            self.session = self.carrier = None

    def crash(self) -> None:
        """The process is gone, and another begins."""
        if self.session is not None:
            self.talker.crashed(self.session)
        if self.carrier is not None:
            self.carrier.close()
        self.session = self.carrier = None


class NodeEnd(End):
    """Stays connected. `connect` begins a transport."""

    def __init__(self, virtual: Virtual, connect: Callable[[Kind, int, Frame], Transport]) -> None:
        super().__init__(virtual, Side.NODE)
        self.machine = Machine(virtual.random)
        self._connect = connect
        self._transports: dict[int, Transport] = {}
        self._greeted: dict[int, str] = {}
        self.session = self._new_session()

    def _new_session(self) -> Session:
        return Session(self.virtual.random.randbytes(16).hex(), Side.NODE, self.virtual.now)

    def start(self) -> None:
        self.act(self.machine.start(self.virtual.now))

    def act(self, actions: list[Action]) -> None:
        """Do what the machine says."""
        for action in actions:
            match action:
                case Connect(kind, epoch):
                    assert self.session is not None
                    self._greeted[epoch] = self.session.identifier
                    self._transports[epoch] = self._connect(kind, epoch, hello(self.session, epoch, [], "token"))
                case Close(epoch):
                    self._end_transport(epoch)
                case Carry():
                    pass
                case _:
                    if self.session is not None:
                        self.session.woke(self.virtual.now)
        self._plan()

    def _end_transport(self, epoch: int) -> None:
        if (transport := self._transports.pop(epoch, None)) is None:
            return
        transport.close()
        self._greeted.pop(epoch, None)
        if transport is self.carrier:
            self.carrier = None
        if self.session is not None:
            self.session.detach(epoch, self.virtual.now)

    def welcomed(self, epoch: int, frame: Frame) -> None:
        """WELCOME came."""
        if epoch not in self._transports or self.session is None:
            return
        actions = self.machine.welcomed(epoch, self.virtual.now)
        if Carry(epoch) in actions:
            try:
                before, now = self.session, self.virtual.now
                self.session = settle(before, self._greeted[epoch], epoch, frame, now)
            except FrameError:
                self.failed(epoch, Failure.REFUSED)
                return
            for event in before.take_events() if before is not self.session else []:
                self.talker.on_event(before, event)
            self.carrier = self._transports[epoch]
        self.act(actions)
        self.step()

    def failed(self, epoch: int, failure: Failure) -> None:
        """A transport ended."""
        if epoch in self._transports:
            self._end_transport(epoch)
            self.act(self.machine.failed(epoch, failure, self.virtual.now))
            self.step()

    def transport_failed(self, event: TransportFailed) -> None:
        self._end_transport(event.epoch)
        self.act(self.machine.failed(event.epoch, Failure.DEAD, self.virtual.now))

    def after_step(self) -> None:
        if self.session is None or self.session.end is None:
            return
        epoch = self.session.epoch
        if self.carrier is not None:
            self.carrier.flush()
        self.session = self._new_session()
        self._end_transport(epoch)
        self.act(self.machine.failed(epoch, Failure.CLOSED, self.virtual.now))

    def crash(self) -> None:
        """The process is gone, and another begins."""
        assert self.session is not None
        self.talker.crashed(self.session)
        for epoch in list(self._transports):
            self._end_transport(epoch)
        self.session = self._new_session()
        self.machine = Machine(self.virtual.random)
        self.start()

    def time(self) -> float:
        return min(super().time(), self.machine.next_tick)

    def tick(self) -> None:
        self.act(self.machine.tick(self.virtual.now))
        assert self.session is not None
        health = self.session.health(self.virtual.now)
        if health is Health.SUSPECT:
            self.machine.suspected()
        elif health is Health.ALIVE:
            self.machine.lives()
        super().tick()
