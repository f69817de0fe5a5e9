"""One session between a node and its server, whichever transports carry it (rules N3-N13).

The owner hands in what came (`receive`), takes what is to be sent (`outgoing`), calls `tick` at `next_tick` at the
latest, and reads `take_events` after each of these. Times are in seconds, of a clock that does not go back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from shared.tunnel.events import Event, Over, SessionEnd, Told, TransportFailed
from shared.tunnel.frames import (
    MAX_FRAME_BYTES,
    TRANSPORT_FAULTS,
    Fault,
    Frame,
    FrameError,
    FrameType,
    encode,
)
from shared.tunnel.heartbeat import Health, Heartbeat
from shared.tunnel.limits import (
    MAX_AWAY_S,
    MAX_MESSAGE_BYTES,
    MAX_NOTICES,
    MAX_UNACKNOWLEDGED_BYTES,
    MAX_UNACKNOWLEDGED_S,
    PING_IDLE_S,
    STUCK_S,
)
from shared.tunnel.payloads import ResetPayload, read, write
from shared.tunnel.receiving import Receiver
from shared.tunnel.sending import Sender
from shared.tunnel.table import Side, StreamTable

if TYPE_CHECKING:
    from collections.abc import Iterable


class Session:
    """Numbers, acknowledges and orders what `streams` say. `identifier` is the node's name for the session."""

    def __init__(self, identifier: str, side: Side, now: float) -> None:
        self.identifier = identifier
        # The newest transport's; 0 before the first.
        self.epoch = 0
        # The transport with which the session began.
        self.since = 0
        # Where the server sees the node at, as its newest WELCOME says.
        self.seen_at = ""
        self.end: SessionEnd | None = None
        self._events: list[Event] = []
        self.streams = StreamTable(side, self._events)
        self._sender = Sender()
        self._receiver = Receiver()
        self._heartbeat: Heartbeat | None = None
        self._away_since = now
        self._is_pong_due = False
        self._goodbye: Frame | None = None
        # What is told, by type and key, and how many STATUS there were each way.
        self._notices: dict[tuple[FrameType, bytes], bytes] = {}
        self._statuses_sent = 0
        self._statuses_seen = 0

    @property
    def last_rx(self) -> int:
        """The last number that came without a gap before it."""
        return self._receiver.last

    @property
    def is_attached(self) -> bool:
        """Whether a transport carries the session, and it is not over."""
        return self._heartbeat is not None and self.end is None

    @property
    def is_fresh(self) -> bool:
        """Whether nothing numbered was sent or received yet."""
        return self._sender.last == 0 and self._receiver.last == 0

    @property
    def held_bytes(self) -> int:
        """Payload and head bytes kept here: to be sent, to be sent again, and come too early."""
        return self._sender.kept_bytes + self._receiver.early_bytes + self.streams.buffered

    def take_events(self) -> list[Event]:
        """Return what happened since the last call."""
        events = self._events.copy()
        self._events.clear()
        return events

    # Transports.

    def can_resume(self, last_rx: int) -> bool:
        """Return whether a peer that has everything up to `last_rx` can go on with this session.

        It may have more: what it acknowledged on another transport can overtake what it says on a new one.
        """
        return self.end is None and last_rx <= self._sender.last

    def attach(self, epoch: int, last_rx: int, now: float, ping_idle_s: float = PING_IDLE_S) -> None:
        """Go on with the transport `epoch`, instead of an older one; send what is behind `last_rx` again.

        Raises ValueError when the epoch is not newer or the session can't be resumed.
        """
        if epoch <= self.epoch or not self.can_resume(last_rx):
            raise ValueError("neither an older transport nor another history")
        self.epoch = epoch
        self.since = self.since or epoch
        self._forget_transport()
        self._heartbeat = Heartbeat(now, ping_idle_s)
        self._sender.change_transport(last_rx, now)

    def detach(self, epoch: int, now: float) -> None:
        """The transport `epoch` is gone. An older one's end changes nothing."""
        if epoch == self.epoch and self._heartbeat is not None:
            self._forget_transport()
            self._away_since = now

    def _forget_transport(self) -> None:
        self._heartbeat = None
        self._is_pong_due = False
        self._notices.clear()
        self._receiver.acknowledged()

    def polled(self, epoch: int, last_rx: int, now: float) -> None:
        """Long polling, server: a request for more came from a node that has everything up to `last_rx`."""
        if epoch == self.epoch and self._heartbeat is not None and self.end is None:
            self._heartbeat.heard(now)
            try:
                self._sender.rewind(last_rx, now)
            except FrameError as error:
                self._fail(error, now)

    def take_poll(self) -> int:
        """Long polling, node: return the `last_rx` of the next request for more; it acknowledges."""
        self._receiver.acknowledged()
        return self._receiver.last

    def take_ack(self) -> bytes:
        """Long polling, server: return the answer to a post, an ACK."""
        self._receiver.acknowledged()
        return encode(Frame(FrameType.ACK), self._receiver.last)

    # Life.

    def heard(self, epoch: int, now: float) -> None:
        """Any byte came on this transport."""
        if epoch == self.epoch and self._heartbeat is not None:
            self._heartbeat.heard(now)

    def woke(self, now: float) -> None:
        """The machine slept or changed its address: find out at once whether the transport lives."""
        if self._heartbeat is not None:
            self._heartbeat.woke(now)

    def health(self, now: float) -> Health:
        """Return what the transport's silence means; without a transport it is dead."""
        return Health.DEAD if self._heartbeat is None else self._heartbeat.health(now)

    def tick(self, now: float) -> None:
        """Do what time asks for: give up a silent or stuck transport, or the session."""
        if self.end is not None:
            return
        self._beat(now)
        oldest, waiting = self._sender.oldest_since, self._sender.waiting_since
        if oldest is not None and now >= oldest + MAX_UNACKNOWLEDGED_S:
            self.close(SessionEnd.UNACKNOWLEDGED_TIME)
        elif self._heartbeat is None:
            if now >= self._away_since + MAX_AWAY_S:
                self.close(SessionEnd.AWAY)
        elif self._heartbeat.health(now) is Health.DEAD:
            self._fail(FrameError(Fault.SILENCE, "nothing comes"), now)
        elif waiting is not None and now >= waiting + STUCK_S:
            self._fail(FrameError(Fault.STUCK, "nothing is acknowledged"), now)

    def next_tick(self, now: float) -> float:
        """Return when `tick`, and then `outgoing`, is to be called at the latest; infinity when never."""
        if self.end is not None:
            return math.inf
        self._beat(now)
        times: list[float | None] = []
        if (oldest := self._sender.oldest_since) is not None:
            times.append(oldest + MAX_UNACKNOWLEDGED_S)
        if self._heartbeat is None:
            times.append(self._away_since + MAX_AWAY_S)
        else:
            times += [self._heartbeat.next_at(now), self._receiver.acknowledge_at]
            if (waiting := self._sender.waiting_since) is not None:
                times.append(waiting + STUCK_S)
        return min(time for time in times if time is not None)

    def _beat(self, now: float) -> None:
        if self._heartbeat is not None:
            self._heartbeat.set_active(len(self.streams) > 0, now)

    # What comes.

    def receive(self, epoch: int, frames: Iterable[Frame], now: float, *, is_life: bool = True) -> None:
        """Take what came on a transport. Frames may be read while they are taken: what `frames` raises is a fault.

        What comes on an older transport is passed over; its frames come again on the newest. The answers to posts are
        no sign of life: they come although nobody answers the request for more.
        """
        if epoch != self.epoch or self._heartbeat is None or self.end is not None:
            return
        if is_life:
            self._heartbeat.heard(now)
        try:
            for frame in frames:
                self._on_frame(frame, now)
                if self.end is not None:
                    return
        except FrameError as error:
            self._fail(error, now)

    def _fail(self, error: FrameError, now: float) -> None:
        """A fault of the transport costs the transport, one of the peer the session."""
        if error.fault in TRANSPORT_FAULTS:
            self._events.append(TransportFailed(self.epoch, error.fault))
            self.detach(self.epoch, now)
        else:
            self.close(SessionEnd.PROTOCOL, error.fault)

    def _on_frame(self, frame: Frame, now: float) -> None:
        if frame.type.is_sequenced:
            if frame.seq == 0:
                raise FrameError(Fault.FIELD, "a number is missing")
            self._sender.acknowledge(frame.ack, now)
            for following in self._receiver.accept(frame, now):
                self.streams.on_frame(following)
            return
        if frame.stream != 0 or (frame.seq != 0 and frame.type is not FrameType.STATUS):
            raise FrameError(Fault.FIELD, f"{frame.type.name} has a stream or a number")
        self._sender.acknowledge(frame.ack, now)
        self._on_unsequenced(frame)

    def _on_unsequenced(self, frame: Frame) -> None:
        match frame.type:
            case FrameType.PING:
                self._is_pong_due = True
            case FrameType.POKE:
                self._events.append(Told(frame.type, frame.payload))
            case FrameType.STATUS:
                # Two posts at once may change places: an older status than one that was seen is news no more.
                if frame.seq > self._statuses_seen:
                    self._statuses_seen = frame.seq
                    self._events.append(Told(frame.type, frame.payload))
            case FrameType.GOAWAY:
                self._over(SessionEnd.PEER, read(frame, ResetPayload).code)
            case FrameType.HELLO | FrameType.WELCOME:
                raise FrameError(Fault.ORDER, f"{frame.type.name} out of place")
            case _:  # PONG, ACK and SWITCH say what was heard already: life, and what was acknowledged.
                pass

    # What goes.

    def tell(self, kind: FrameType, payload: bytes, key: bytes = b"") -> bool:
        """Send a POKE or STATUS; the newest of a key replaces one that waits. Return whether it will be tried.

        Without a transport it is not kept: what it tells is to be told anew after each WELCOME.
        """
        if not self.is_attached or len(self._notices) >= MAX_NOTICES:
            return False
        self._notices[kind, key] = payload
        return True

    def outgoing(self, now: float, most_bytes: int = MAX_MESSAGE_BYTES, most_frames: int | None = None) -> bytes:
        """Return the next message for the transport, empty when there is nothing to send now.

        It is at most `most_bytes` long (not less than MAX_FRAME_BYTES), with at most `most_frames` numbered frames.
        """
        if self._heartbeat is None:
            return b""
        self._beat(now)
        message = bytearray()
        numbered = 0
        while len(message) + MAX_FRAME_BYTES <= most_bytes:
            frame = self._next_unsequenced(now)
            if frame is None and (most_frames is None or numbered < most_frames):
                frame = self._next_numbered(now)
                numbered += 1
            if frame is None:
                break
            message += encode(frame, 0 if frame.type is FrameType.GOAWAY else self._receiver.last)
        if not message and self._is_ack_due(now):
            message += encode(Frame(FrameType.ACK), self._receiver.last)
        if message:
            self._receiver.acknowledged()
        return bytes(message)

    def _is_ack_due(self, now: float) -> bool:
        due = self._receiver.acknowledge_at
        return due is not None and now >= due

    def _next_unsequenced(self, now: float) -> Frame | None:
        if self._goodbye is not None or self.end is not None:
            frame, self._goodbye = self._goodbye, None
            return frame
        if self._is_pong_due:
            self._is_pong_due = False
            return Frame(FrameType.PONG)
        if self._heartbeat is not None and self._heartbeat.take_ping(now):
            return Frame(FrameType.PING)
        if not self._notices:
            return None
        (kind, key) = next(iter(self._notices))
        payload = self._notices.pop((kind, key))
        if kind is FrameType.STATUS:
            self._statuses_sent += 1
            return Frame(kind, payload=payload, seq=self._statuses_sent)
        return Frame(kind, payload=payload)

    def _next_numbered(self, now: float) -> Frame | None:
        if self.end is not None:
            return None
        if (again := self._sender.take_again()) is not None:
            return again
        if self._sender.kept_bytes > MAX_UNACKNOWLEDGED_BYTES:
            self.close(SessionEnd.UNACKNOWLEDGED_BYTES)
            return None
        frame = self.streams.take_next()
        return None if frame is None else self._sender.number(frame, now)

    # The end.

    def close(self, end: SessionEnd = SessionEnd.CLOSED, code: str = "") -> None:
        """End the session and all its streams. The last message on its transport, if it has one, tells the peer."""
        if self.end is None:
            self._goodbye = Frame(FrameType.GOAWAY, payload=write(ResetPayload(code or end)))
            self._over(end, code)

    def _over(self, end: SessionEnd, detail: str) -> None:
        self.end = end
        self.streams.lose(end)
        self._sender.forget()
        self._receiver.forget()
        self._notices.clear()
        self._events.append(Over(end, detail))
