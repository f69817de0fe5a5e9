"""What one session does, frame by frame."""

from __future__ import annotations

import math

import pytest

from shared.errors import DomovoiError
from shared.tunnel.events import Data, Lost, Over, SessionEnd, Told, TransportFailed
from shared.tunnel.frames import Fault, Frame, FrameType, decode, encode
from shared.tunnel.heartbeat import Health
from shared.tunnel.limits import (
    ACK_EVERY_FRAMES,
    MAX_UNACKNOWLEDGED_BYTES,
    REORDERED_FRAMES,
)
from shared.tunnel.payloads import ResetPayload, WindowPayload, write
from shared.tunnel.session import Session
from shared.tunnel.table import Side
from tests.shared.tunnel.pair import Pair, over


@pytest.fixture
def pair() -> Pair:
    return Pair()


HOSTILE = [
    (Fault.FIELD, Frame(FrameType.DATA, 2, b"x", 0)),
    (Fault.FIELD, Frame(FrameType.PING, 2)),
    (Fault.FIELD, Frame(FrameType.POKE, seq=1)),
    (Fault.ACK, Frame(FrameType.ACK, ack=1000)),
    (Fault.ORDER, Frame(FrameType.HELLO)),
    (Fault.ORDER, Frame(FrameType.WELCOME)),
    (Fault.PAYLOAD, Frame(FrameType.GOAWAY, payload=b"\xc1")),
    (Fault.STREAM, Frame(FrameType.OPEN, 0, b"", 3)),
    (Fault.STREAM, Frame(FrameType.DATA, 4, b"x", 3)),
    (Fault.STREAM, Frame(FrameType.DATA, 1, b"x", 3)),
    (Fault.STREAM, Frame(FrameType.RESET, 0, write(ResetPayload("internal")), 3)),
    (Fault.STREAM, Frame(FrameType.WINDOW, 6, write(WindowPayload(5)), 3)),
    (Fault.ORDER, Frame(FrameType.OPEN, 2, b"", 3)),
    (Fault.PAYLOAD, Frame(FrameType.DATA, 2, b"", 3)),
    (Fault.PAYLOAD, Frame(FrameType.RESET, 2, b"\xc1", 3)),
    (Fault.PAYLOAD, Frame(FrameType.WINDOW, 2, b"", 3)),
    (Fault.CREDIT, Frame(FrameType.WINDOW, 2, write(WindowPayload(1)), 3)),
    (Fault.CREDIT, Frame(FrameType.WINDOW, 0, write(WindowPayload(1)), 3)),
]


@pytest.mark.parametrize(("fault", "frame"), HOSTILE)
def test_N4_what_a_peer_must_not_say_ends_the_session_and_its_streams(pair: Pair, fault: Fault, frame: Frame) -> None:
    number = pair.open()
    pair.served.streams.write(number, b"x")
    pair.served.streams.finish(number)
    following = pair.node.last_rx + 1 if frame.seq else 0
    events = pair.give(pair.node, Frame(frame.type, frame.stream, frame.payload, following, frame.ack))
    assert events == [Lost(number, SessionEnd.PROTOCOL), Over(SessionEnd.PROTOCOL, fault)]
    # The peer is told, and has its own end of each stream.
    assert pair.carry(pair.node) == [Lost(number, SessionEnd.PEER), Over(SessionEnd.PEER, fault)]
    assert pair.node.outgoing(pair.now) == b""
    assert pair.node.next_tick(pair.now) == math.inf
    with pytest.raises(DomovoiError):
        pair.node.streams.open(b"")


def test_N4_data_after_an_end_and_beyond_credit_are_faults(pair: Pair) -> None:
    number = pair.open()
    pair.served.streams.finish(number)
    pair.carry(pair.served)
    events = pair.give(pair.node, Frame(FrameType.DATA, number, b"x", pair.node.last_rx + 1))
    assert over(events).detail == Fault.ORDER


def test_N6_what_was_seen_is_dropped_and_64_frames_are_put_in_order(pair: Pair) -> None:
    number = pair.open()
    first = pair.node.last_rx + 1
    frames = [Frame(FrameType.DATA, number, bytes([index]), first + index) for index in range(REORDERED_FRAMES)]
    assert pair.give(pair.node, *frames[:0:-1]) == []
    assert pair.give(pair.node, *frames, *frames) == [Data(number, bytes([index])) for index in range(64)]


def test_N6_a_gap_costs_the_transport_and_not_the_session(pair: Pair) -> None:
    number = pair.open()
    ahead = pair.node.last_rx + REORDERED_FRAMES + 1
    events = pair.give(pair.node, Frame(FrameType.DATA, number, b"x", ahead))
    assert events == [TransportFailed(pair.epoch, Fault.GAP)]
    assert not pair.node.is_attached
    pair.served.streams.write(number, b"on another transport")
    pair.connect()
    assert pair.carry(pair.served) == [Data(number, b"on another transport")]


def test_N3_garbage_costs_the_transport_and_not_what_came_before_it(pair: Pair) -> None:
    number = pair.open()
    good = encode(Frame(FrameType.DATA, number, b"good", pair.node.last_rx + 1))
    pair.node.receive(pair.epoch, decode(good + b"<html>" * 20), pair.now)
    assert pair.node.take_events() == [Data(number, b"good"), TransportFailed(pair.epoch, Fault.VERSION)]
    assert pair.node.end is None


def test_N5_the_32nd_frame_is_acknowledged_at_once(pair: Pair) -> None:
    number = pair.open()
    pair.node.outgoing(pair.now)
    pair.message(pair.served)
    first = pair.node.last_rx + 1
    for index in range(ACK_EVERY_FRAMES):
        assert pair.node.outgoing(pair.now) == b""
        pair.give(pair.node, Frame(FrameType.DATA, number, b"x", first + index))
    assert pair.message(pair.node) == [Frame(FrameType.ACK, ack=first + ACK_EVERY_FRAMES - 1)]


def test_N5_one_frame_is_acknowledged_after_200_ms_or_by_any_other(pair: Pair) -> None:
    number = pair.open()
    pair.carry(pair.served)
    pair.carry(pair.node)
    for _ in range(2):
        pair.served.streams.write(number, b"x")
        pair.carry(pair.served)
        assert pair.node.next_tick(pair.now) == pytest.approx(pair.now + 0.2)
        pair.pass_time(0.1)
        assert pair.node.outgoing(pair.now) == b""
        pair.pass_time(0.1001)
        assert [frame.type for frame in pair.message(pair.node)] == [FrameType.ACK]
        assert pair.node.outgoing(pair.now) == b""
    pair.served.streams.write(number, b"x")
    pair.carry(pair.served)
    pair.node.streams.write(number, b"y")
    assert [(frame.type, frame.ack) for frame in pair.message(pair.node)] == [(FrameType.DATA, pair.node.last_rx)]
    pair.pass_time(1)
    assert pair.node.outgoing(pair.now) == b""


def test_N7_what_was_not_acknowledged_is_sent_again_on_the_next_transport(pair: Pair) -> None:
    number = pair.open()
    pair.served.streams.write(number, b"lost with its transport")
    assert pair.message(pair.served)
    pair.served.detach(pair.epoch, pair.now)
    assert pair.served.outgoing(pair.now) == b""
    pair.connect()
    assert pair.carry(pair.served) == [Data(number, b"lost with its transport")]


def test_N7_a_minute_without_acknowledgement_ends_the_session_on_both_sides(pair: Pair) -> None:
    number = pair.open()
    pair.pass_time(0.3)
    pair.carry(pair.served)
    pair.served.streams.write(number, b"x")
    pair.message(pair.served)
    for session in (pair.served, pair.node):
        session.detach(pair.epoch, pair.now)
    pair.pass_time(59.9)
    pair.served.tick(pair.now)
    pair.node.tick(pair.now)
    assert pair.served.end is pair.node.end is None
    assert pair.served.next_tick(pair.now) <= pair.now + 0.11
    pair.pass_time(0.2)
    pair.served.tick(pair.now)
    pair.node.tick(pair.now)
    end = SessionEnd.UNACKNOWLEDGED_TIME
    assert pair.served.take_events() == [Lost(number, end), Over(end, "")]
    assert pair.node.take_events() == [Lost(number, SessionEnd.AWAY), Over(SessionEnd.AWAY, "")]


def test_N7_four_megabytes_without_acknowledgement_end_the_session(pair: Pair) -> None:
    # Credit does not let so much DATA through: only what passes it can come to this.
    sent = 0
    while pair.served.end is None:
        number = pair.served.streams.open(bytes(60_000))
        sent += len(pair.served.outgoing(pair.now))
        pair.served.streams.reset(number, "internal")
        assert sent < MAX_UNACKNOWLEDGED_BYTES + 400_000
    assert pair.served.end is SessionEnd.UNACKNOWLEDGED_BYTES
    assert sent > MAX_UNACKNOWLEDGED_BYTES
    assert pair.served.held_bytes == 0
    assert over(pair.carry(pair.served)) == Over(SessionEnd.PEER, "unacknowledged_bytes")


def test_N7_a_transport_on_which_nothing_is_acknowledged_is_given_up(pair: Pair) -> None:
    number = pair.open()
    pair.carry(pair.served)
    pair.served.streams.write(number, b"swallowed")
    pair.message(pair.served)
    for _ in range(5):
        pair.pass_time(5)
        pair.served.tick(pair.now)
        assert pair.served.is_attached or pair.now >= 125
        pair.give(pair.served, Frame(FrameType.PONG))
    pair.served.tick(pair.now)
    assert not pair.served.is_attached
    assert pair.served.end is None


def test_N12_pings_are_answered(pair: Pair) -> None:
    pair.carry(pair.served)
    pair.carry(pair.node)
    pair.pass_time(15)
    assert [frame.type for frame in pair.message(pair.node)] == [FrameType.PING]
    pair.give(pair.served, Frame(FrameType.PING), Frame(FrameType.PING))
    assert next(frame.type for frame in pair.message(pair.served)) is FrameType.PONG


def test_N12_silence_ends_the_transport_sooner_with_streams(pair: Pair) -> None:
    pair.pass_time(11)
    assert pair.node.health(pair.now) is Health.ALIVE
    pair.node.tick(pair.now)
    assert pair.node.is_attached
    pair.connect()
    pair.open()
    pair.node.tick(pair.now)
    pair.pass_time(10.1)
    pair.node.tick(pair.now)
    assert pair.node.take_events() == [TransportFailed(pair.epoch, Fault.SILENCE)]


def test_N12_answers_to_posts_are_no_life(pair: Pair) -> None:
    pair.pass_time(24)
    pair.node.receive(pair.epoch, [Frame(FrameType.ACK)], pair.now, is_life=False)
    pair.pass_time(1.1)
    assert pair.node.health(pair.now) is Health.DEAD


def test_N16_news_is_told_once_and_the_newest_of_a_key_counts(pair: Pair) -> None:
    for head in (b"1", b"2"):
        assert pair.served.tell(FrameType.POKE, head, b"account")
    assert pair.served.tell(FrameType.POKE, b"3", b"another")
    assert pair.carry(pair.served) == [Told(FrameType.POKE, b"2"), Told(FrameType.POKE, b"3")]
    pair.served.detach(pair.epoch, pair.now)
    assert not pair.served.tell(FrameType.POKE, b"4")
    pair.connect()
    assert pair.carry(pair.served) == []


def test_N16_an_older_status_is_passed_over(pair: Pair) -> None:
    pair.node.tell(FrameType.STATUS, b"old")
    old = pair.message(pair.node)
    pair.node.tell(FrameType.STATUS, b"new")
    new = pair.message(pair.node)
    assert pair.give(pair.served, *new, *old, *new) == [Told(FrameType.STATUS, b"new")]


def test_N15_a_poll_acknowledges_and_asks_again_for_what_was_lost(pair: Pair) -> None:
    number = pair.open()
    pair.served.streams.write(number, b"an answer that got lost")
    lost = pair.message(pair.served)
    assert pair.served.outgoing(pair.now) == b""
    pair.served.polled(pair.epoch, pair.node.take_poll(), pair.now)
    assert pair.message(pair.served) == lost
    pair.give(pair.node, *lost)
    pair.served.polled(pair.epoch, pair.node.take_poll(), pair.now)
    assert pair.served.outgoing(pair.now) == b""
    assert pair.served.held_bytes == 0
    # The poll said it: no ACK of its own.
    pair.pass_time(1)
    assert pair.node.outgoing(pair.now) == b""


def test_N15_a_poll_for_more_than_was_sent_ends_the_session(pair: Pair) -> None:
    pair.served.polled(pair.epoch, 99, pair.now)
    assert over(pair.served.take_events()) == Over(SessionEnd.PROTOCOL, Fault.ACK)


def test_N15_a_message_has_at_most_so_many_bytes_and_numbered_frames(pair: Pair) -> None:
    numbers = [pair.open() for _ in range(50)]
    for number in numbers:
        pair.node.streams.write(number, b"x")
    pair.node.tell(FrameType.STATUS, b"s")
    message = list(decode(pair.node.outgoing(pair.now, most_frames=32)))
    assert sum(frame.type.is_sequenced for frame in message) == 32
    for number in numbers:
        pair.node.streams.write(number, bytes(60_000))
    assert 65536 < len(pair.node.outgoing(pair.now, 140_000)) <= 140_000


def test_N13_what_comes_on_an_older_transport_is_passed_over(pair: Pair) -> None:
    number = pair.open()
    late = Frame(FrameType.DATA, number, b"late", pair.node.last_rx + 1)
    old = pair.epoch
    pair.connect()
    pair.node.receive(old, [late], pair.now)
    pair.node.detach(old, pair.now)
    assert pair.node.take_events() == []
    assert pair.node.is_attached


def test_a_session_that_never_finds_a_transport_ends() -> None:
    session = Session("0" * 32, Side.NODE, 0.0)
    assert session.next_tick(0.0) == 60
    session.tick(60.0)
    assert session.end is SessionEnd.AWAY
