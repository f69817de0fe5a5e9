"""Two sessions on a wire that hypothesis holds in its hands: every message at its will, cut at every byte."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.tunnel.events import Data, Ended, Event, Lost, Opened, Over, Reset, SessionEnd
from shared.tunnel.frames import FrameReader, decode
from shared.tunnel.limits import MAX_MESSAGE_FRAMES, SESSION_CREDIT_BYTES, STREAM_CREDIT_BYTES
from shared.tunnel.table import Side
from tests.effort import examples
from tests.shared.tunnel.ends import MOST_HELD
from tests.shared.tunnel.pair import Pair

if TYPE_CHECKING:
    from shared.tunnel.session import Session

SIDES = st.sampled_from(Side)
WHICH = st.integers(0, 1000)


class Half:
    """What one side knows of one stream."""

    def __init__(self, session: Session, number: int) -> None:
        self.session, self.number = session, number
        self.sent = bytearray()
        self.received = bytearray()
        self.unconsumed = 0
        self.is_finished = self.has_peer_ended = False
        self.outcome: str | None = None


class Wire(RuleBasedStateMachine):
    """A transport is two lists of messages. What is not delivered when the next one begins may still come late."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.random = Random(seed)
        self.pair = Pair()
        self.under_way: dict[Side, list[bytes]] = {side: [] for side in Side}
        self.late: dict[Side, list[tuple[int, bytes]]] = {side: [] for side in Side}
        # A stream's name: the number of its session, and its own.
        self.books: dict[Side, dict[tuple[int, int], Half]] = {side: {} for side in Side}
        self.sessions = 1
        self.ends: list[SessionEnd] = []

    # What the owners do.

    @rule(side=SIDES)
    def open(self, side: Side) -> None:
        session = self.session(side)
        if session.end is None and len(session.streams) < 8:
            self.book(side, session.streams.open(b"call"))

    @rule(side=SIDES, which=WHICH, size=st.sampled_from([1, 50, 5000, 70_000]))
    def write(self, side: Side, which: int, size: int) -> None:
        half = self.chosen(side, which)
        if half is not None and not half.is_finished:
            data = self.random.randbytes(size)
            half.sent += data[: half.session.streams.write(half.number, data)]

    @rule(side=SIDES, which=WHICH)
    def finish(self, side: Side, which: int) -> None:
        if (half := self.chosen(side, which)) is not None:
            half.is_finished = True
            half.session.streams.finish(half.number)
            self.settle(half)

    @rule(side=SIDES, which=WHICH)
    def reset(self, side: Side, which: int) -> None:
        if (half := self.chosen(side, which)) is not None:
            half.outcome = "reset: mine"
            half.session.streams.reset(half.number, "mine")

    @rule(side=SIDES, which=WHICH, part=st.integers(1, 3))
    def consume(self, side: Side, which: int, part: int) -> None:
        halves = [half for half in self.books[side].values() if half.unconsumed]
        if halves:
            half = halves[which % len(halves)]
            size = -(-half.unconsumed // part)
            half.unconsumed -= size
            half.session.streams.consumed(half.number, size)

    # What the wire does.

    @rule(side=SIDES, is_polling=st.booleans())
    def send(self, side: Side, is_polling: bool) -> None:
        """Put a message on its way. Of posts there are two at most, so that what they carry can be put in order."""
        if not is_polling or len(self.under_way[side]) < 2:
            message = self.session(side).outgoing(self.pair.now, most_frames=MAX_MESSAGE_FRAMES)
            if message:
                self.under_way[side].append(message)
            self.listen()

    @rule(side=SIDES, is_second=st.booleans())
    def deliver(self, side: Side, is_second: bool) -> None:
        """Deliver the next message, or the second before the first."""
        messages = self.under_way[side]
        if messages:
            self.receive(side, messages.pop(1 if is_second and len(messages) > 1 else 0))

    @rule(side=SIDES)
    def deliver_twice(self, side: Side) -> None:
        if self.under_way[side]:
            self.receive(side, self.under_way[side][0])

    @rule(side=SIDES, part=st.floats(0, 1), is_known=st.booleans())
    def cut(self, side: Side, part: float, is_known: bool) -> None:
        """Deliver some bytes of the next message, and break the transport; the sender learns of it now or never."""
        if self.under_way[side]:
            message = self.under_way[side].pop(0)
            piece = message[: int(part * len(message))]
            receiver = self.session(Side(1 - side))
            receiver.receive(self.pair.epoch, FrameReader().feed(piece), self.pair.now)
            self.listen()
            receiver.detach(self.pair.epoch, self.pair.now)
            if is_known:
                self.session(side).detach(self.pair.epoch, self.pair.now)
            self.lose()

    @precondition(lambda self: not self.ends)
    @rule()
    def connect(self) -> None:
        """Begin a new transport; what was under way on the old one is late."""
        self.lose()
        for side in Side:
            assert self.session(side).end is None
        before = self.pair.node, self.pair.served
        self.pair.connect()
        assert (self.pair.node, self.pair.served) == before, "a session that could go on was not resumed"

    @rule(side=SIDES, which=WHICH)
    def deliver_late(self, side: Side, which: int) -> None:
        """Something comes on a transport that is no more."""
        if self.late[side]:
            epoch, message = self.late[side][which % len(self.late[side])]
            if epoch != self.pair.epoch:
                self.session(Side(1 - side)).receive(epoch, decode(message), self.pair.now)
                assert self.session(Side(1 - side)).take_events() == []

    @rule(seconds=st.sampled_from([0.01, 0.21, 4.0]))
    def wait(self, seconds: float) -> None:
        self.pair.pass_time(seconds)
        for side in Side:
            self.session(side).tick(self.pair.now)
        self.listen()

    @precondition(lambda self: self.ends)
    @rule()
    def begin_anew(self) -> None:
        """A session is over: the other side is told, or finds out, and a new pair takes its place."""
        for side in Side:
            self.session(side).close(SessionEnd.REPLACED)
        self.listen()
        self.pair, now = Pair(), self.pair.now
        self.pair.now = now
        self.pair.connect()
        self.under_way = {side: [] for side in Side}
        self.late = {side: [] for side in Side}
        self.sessions += 1
        self.ends.clear()

    # What holds.

    @invariant()
    def credit_and_memory_are_bounded(self) -> None:
        for side in Side:
            session = self.session(side)
            assert session.held_bytes <= MOST_HELD
            assert session.streams.unconsumed <= SESSION_CREDIT_BYTES
            assert all(half.unconsumed <= STREAM_CREDIT_BYTES for half in self.books[side].values())

    def teardown(self) -> None:
        """Nothing breaks any more: every stream comes to its end, and both sides can say how."""
        if not hasattr(self, "pair"):
            return
        if self.ends:
            self.begin_anew()
        else:
            self.connect()
        for _ in range(200):
            self.pair.pass_time(0.25)
            for half in [*self.books[Side.NODE].values(), *self.books[Side.SERVER].values()]:
                half.session.streams.consumed(half.number, half.unconsumed)
                half.unconsumed = 0
                if half.outcome is None and not half.is_finished:
                    half.is_finished = True
                    half.session.streams.finish(half.number)
                    self.settle(half)
            for side in Side:
                while message := self.session(side).outgoing(self.pair.now):
                    self.receive(side, message)
        self.check()

    def check(self) -> None:
        mine, theirs = self.books[Side.SERVER], self.books[Side.NODE]
        for name in {*mine, *theirs}:
            halves = [book[name] for book in (mine, theirs) if name in book]
            assert all(half.outcome for half in halves), f"{name}: {[half.outcome for half in halves]}"
            if {half.outcome for half in halves} == {"finished"}:
                one, two = halves
                assert (one.received, two.received) == (two.sent, one.sent)
        for side in Side:
            assert self.session(side).held_bytes == 0

    # Helpers.

    def session(self, side: Side) -> Session:
        return self.pair.node if side is Side.NODE else self.pair.served

    def chosen(self, side: Side, which: int) -> Half | None:
        halves = [half for half in self.books[side].values() if half.outcome is None and not half.is_finished]
        return halves[which % len(halves)] if halves else None

    def book(self, side: Side, number: int) -> None:
        assert (self.sessions, number) not in self.books[side], "a stream that began twice"
        self.books[side][self.sessions, number] = Half(self.session(side), number)

    def lose(self) -> None:
        for side in Side:
            self.late[side] += [(self.pair.epoch, message) for message in self.under_way[side]]
            self.under_way[side].clear()

    def receive(self, side: Side, message: bytes) -> None:
        self.session(Side(1 - side)).receive(self.pair.epoch, decode(message), self.pair.now)
        self.listen()

    def listen(self) -> None:
        for side in Side:
            for event in self.session(side).take_events():
                self.on_event(side, event)

    def on_event(self, side: Side, event: Event) -> None:
        if isinstance(event, Over):
            self.ends.append(event.end)
            assert event.end is not SessionEnd.PROTOCOL, event.detail
        elif isinstance(event, Opened) and event.stream % 2 != side:
            self.book(side, event.stream)
            self.session(side).streams.answer(event.stream, b"head")
        elif isinstance(event, Data | Ended | Reset | Lost):
            half = self.books[side][self.sessions, event.stream]
            assert half.outcome is None
            self.on_stream_event(side, half, event)

    def on_stream_event(self, side: Side, half: Half, event: Data | Ended | Reset | Lost) -> None:
        twin = self.books[Side(1 - side)].get((self.sessions, half.number))
        match event:
            case Data(_, data):
                assert twin is not None
                assert twin.sent[len(half.received) : len(half.received) + len(data)] == data
                half.received += data
                half.unconsumed += len(data)
            case Ended():
                assert twin is not None
                assert half.received == twin.sent
                half.has_peer_ended = True
                self.settle(half)
            case Reset(_, code):
                half.outcome = f"reset: {code}"
            case Lost(_, end):
                half.outcome = f"lost: {end}"

    def settle(self, half: Half) -> None:
        if half.is_finished and half.has_peer_ended:
            half.outcome = "finished"


def test_N5_N6_N7_N8_N9_every_byte_comes_once_and_in_order_or_its_stream_ends_with_a_reason() -> None:
    run_state_machine_as_test(Wire, settings=examples(60))
