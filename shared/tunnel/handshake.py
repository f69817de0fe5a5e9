"""How a transport and a session find each other: HELLO from the node, WELCOME from the server (rules N4, N13)."""

from __future__ import annotations

from msgspec import Struct

from shared.tunnel.events import SessionEnd
from shared.tunnel.frames import Fault, Frame, FrameError, FrameType
from shared.tunnel.limits import MAX_FRAME_PAYLOAD_BYTES, PING_IDLE_S
from shared.tunnel.payloads import HelloPayload, WelcomePayload, read, write
from shared.tunnel.session import Session
from shared.tunnel.table import Side


class Accepted(Struct, frozen=True):
    """The session that the transport carries from now on, and what to answer. `ended` was the node's until now."""

    session: Session
    welcome: Frame
    ended: Session | None


def hello(session: Session, epoch: int, caps: list[str], token: str) -> Frame:
    """Return the first frame on a new transport of a node."""
    payload = HelloPayload(session.identifier, epoch, session.last_rx, caps, token, session.since)
    return Frame(FrameType.HELLO, payload=write(payload))


def read_hello(frame: Frame) -> HelloPayload:
    """Return what a node says first. Raises FrameError `order` or `payload`."""
    if frame.type is not FrameType.HELLO:
        raise FrameError(Fault.ORDER, "HELLO comes first")
    return read(frame, HelloPayload)


def accept(current: Session | None, greeting: HelloPayload, now: float, address: str = "") -> Accepted | None:
    """Server: give the transport, seen at `address`, its session: the node's `current` one if that can go on.

    Returns None when a newer transport of the session is there already, and this one is to be closed.
    """
    if current is None or current.end is not None:
        return _begin(greeting, now, None, address)
    if current.identifier != greeting.session:
        current.close(SessionEnd.REPLACED)
        return _begin(greeting, now, current, address)
    if greeting.epoch <= current.epoch:
        return None
    # A node that has had no WELCOME yet may have been given a session before, whose WELCOME was lost or is late.
    is_same = greeting.since in {0, current.since}
    if not is_same or not current.can_resume(greeting.last_rx):
        current.close(SessionEnd.NOT_RESUMED)
        return _begin(greeting, now, current, address)
    current.attach(greeting.epoch, greeting.last_rx, now)
    return Accepted(current, _welcome(current, address, is_resumed=True), None)


def _begin(greeting: HelloPayload, now: float, ended: Session | None, address: str) -> Accepted:
    session = Session(greeting.session, Side.SERVER, now)
    session.attach(greeting.epoch, 0, now)
    return Accepted(session, _welcome(session, address, is_resumed=False), ended)


def _welcome(session: Session, address: str, *, is_resumed: bool) -> Frame:
    payload = WelcomePayload(
        *(is_resumed, session.epoch, session.last_rx, PING_IDLE_S, MAX_FRAME_PAYLOAD_BYTES, session.since, address)
    )
    return Frame(FrameType.WELCOME, payload=write(payload))


def settle(session: Session, greeted: str, epoch: int, frame: Frame, now: float) -> Session:
    """Node: take the server's WELCOME and return the session that goes on: the same, or a new one after its end.

    `greeted` is the session that HELLO named; `session`, the node's now, may be a later one. Raises FrameError:
    `payload`; `order` when this is no WELCOME to that HELLO; `ack` when the server resumed another history.
    """
    if frame.type is not FrameType.WELCOME:
        raise FrameError(Fault.ORDER, "WELCOME comes first")
    welcome = read(frame, WelcomePayload)
    if welcome.epoch != epoch or session.end is not None or greeted != session.identifier:
        raise FrameError(Fault.ORDER, "WELCOME to another transport")
    if welcome.resumed and not (session.since in {0, welcome.since} and session.can_resume(welcome.last_rx)):
        session.close(SessionEnd.NOT_RESUMED)
        raise FrameError(Fault.ACK, "the server resumed another history")
    if not welcome.resumed and session.since:
        session.close(SessionEnd.NOT_RESUMED)
        session = Session(session.identifier, Side.NODE, now)
    session.streams.scheduler.max_frame = welcome.max_frame
    session.attach(epoch, welcome.last_rx if welcome.resumed else 0, now, welcome.heartbeat)
    session.since = welcome.since
    session.seen_at = welcome.address
    return session
