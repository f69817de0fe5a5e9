"""The streams of a session: opening and ending, credit, and who waits for whom."""

from __future__ import annotations

import pytest

from shared.errors import Code, DomovoiError
from shared.tunnel.events import Data, Ended, Opened, Reset, Writable
from shared.tunnel.frames import Fault, Frame, FrameType
from shared.tunnel.limits import (
    MAX_STREAMS,
    STREAM_BUFFER_BYTES,
)
from shared.tunnel.payloads import WindowPayload, read
from tests.shared.tunnel.pair import Pair, over


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_N8_a_call_goes_there_and_its_answer_comes_back(pair: Pair) -> None:
    number = pair.served.streams.open(b"call")
    assert number == 2
    assert pair.served.streams.write(number, b"question") == 8
    pair.served.streams.finish(number)
    assert pair.carry(pair.served) == [Opened(2, b"call"), Data(2, b"question"), Ended(2)]
    pair.node.streams.answer(number, b"head")
    pair.node.streams.write(number, b"answer")
    pair.node.streams.finish(number)
    pair.node.streams.consumed(number, 8)
    assert pair.carry(pair.node) == [Opened(2, b"head"), Data(2, b"answer"), Ended(2)]
    pair.served.streams.consumed(number, 6)
    assert (len(pair.node.streams), len(pair.served.streams)) == (0, 0)


def test_N8_each_side_numbers_its_own_streams(pair: Pair) -> None:
    assert [pair.served.streams.open(b"") for _ in range(3)] == [2, 4, 6]
    assert [pair.node.streams.open(b"") for _ in range(3)] == [1, 3, 5]
    assert pair.carry(pair.node) == [Opened(number, b"") for number in (1, 3, 5)]


def test_N8_a_reset_ends_both_ways_and_says_why(pair: Pair) -> None:
    number = pair.open()
    pair.served.streams.write(number, b"never sent")
    pair.served.streams.reset(number, Code.ENGINE_BUSY)
    assert pair.carry(pair.served) == [Reset(number, "engine_busy")]
    # What the node said before it knew is passed over, and what it says of a stream that is gone changes nothing.
    assert pair.node.streams.write(number, b"late") == 0
    pair.node.streams.finish(number)
    pair.node.streams.consumed(number, 10)
    assert pair.carry(pair.node) == []


def test_N8_a_stream_that_was_never_sent_is_taken_back_unseen(pair: Pair) -> None:
    number = pair.served.streams.open(b"call")
    pair.served.streams.reset(number, Code.INTERNAL)
    assert pair.carry(pair.served) == []
    assert pair.served.streams.open(b"next") == number + 2
    assert pair.carry(pair.served) == [Opened(number + 2, b"next")]


def test_N8_a_stream_refused_before_it_was_answered_is_reset(pair: Pair) -> None:
    number = pair.served.streams.open(b"call")
    pair.carry(pair.served)
    pair.node.streams.answer(number, b"head")
    pair.node.streams.reset(number, Code.MODEL_MISSING)
    assert pair.carry(pair.node) == [Reset(number, "model_missing")]


def test_N8_the_257th_stream_is_refused_on_either_side(pair: Pair) -> None:
    for _ in range(MAX_STREAMS):
        pair.served.streams.open(b"")
    with pytest.raises(DomovoiError) as refused:
        pair.served.streams.open(b"")
    assert refused.value.code is Code.ENGINE_BUSY
    pair.carry(pair.served)
    last = pair.served._sender.last  # a peer that counts otherwise is simulated with the next number
    assert pair.give(pair.node, Frame(FrameType.OPEN, 2 * MAX_STREAMS + 2, b"", last + 1)) == []
    assert any(frame.type is FrameType.RESET for frame in pair.message(pair.node))


def test_N8_calls_out_of_place_are_the_owners_mistakes(pair: Pair) -> None:
    number = pair.served.streams.open(b"call")
    pair.carry(pair.served)
    for call in (pair.node.streams.finish, lambda stream: pair.node.streams.write(stream, b"x")):
        with pytest.raises(ValueError, match="stream 2"):
            call(number)
    with pytest.raises(ValueError, match="is open"):
        pair.served.streams.answer(number, b"again")
    with pytest.raises(ValueError, match="has not brought"):
        pair.node.streams.consumed(number, 1)
    with pytest.raises(DomovoiError):
        pair.served.streams.open(bytes(65537))


def test_N9_a_sender_beyond_its_credit_is_caught(pair: Pair) -> None:
    number = pair.open()
    first = pair.node.last_rx + 1
    flood = [Frame(FrameType.DATA, number, bytes(65536), first + index) for index in range(5)]
    events = pair.give(pair.node, *flood)
    assert sum(isinstance(event, Data) for event in events) == 4
    assert over(events).detail == Fault.CREDIT


def test_N11_control_passes_data_and_streams_take_turns(pair: Pair) -> None:
    streams = [pair.open() for _ in range(3)]
    for number in streams:
        pair.served.streams.write(number, bytes(40_000))
    late = pair.served.streams.open(b"late")
    pair.served.streams.reset(streams[0], "internal")
    kinds = [(frame.type, frame.stream, len(frame.payload)) for frame in pair.message(pair.served)]
    assert kinds[:2] == [(FrameType.OPEN, late, 4), (FrameType.RESET, streams[0], kinds[1][2])]
    one, two = streams[1:]
    sizes = [(stream, size) for _, stream, size in kinds[2:]]
    assert sizes == [(one, 16384), (two, 16384), (one, 16384), (two, 16384), (one, 7232), (two, 7232)]


def test_N11_a_stream_that_is_alone_sends_the_greatest_frames(pair: Pair) -> None:
    number = pair.open()
    pair.served.streams.write(number, bytes(STREAM_BUFFER_BYTES))
    assert [len(frame.payload) for frame in pair.message(pair.served)] == [65536]


def read_all(pair: Pair, number: int, size: int) -> int:
    """Send up to `size` bytes on a stream to a reader who keeps up, and return how many arrived."""
    arrived = left = 0
    for _ in range(200):
        left = size - arrived
        pair.served.streams.write(number, bytes(min(left, 50_000)))
        for event in pair.carry(pair.served):
            if isinstance(event, Data) and event.stream == number:
                arrived += len(event.data)
                pair.node.streams.consumed(number, len(event.data))
        pair.carry(pair.node)
        if arrived >= size:
            break
    return arrived


@pytest.mark.parametrize("stalled", [1, 3, 8, 40])
def test_N10_readers_who_stopped_reading_stop_nobody_else(pair: Pair, stalled: int) -> None:
    reading = pair.open()
    # What this reader has read, but not been granted again, must not be what stops it later.
    assert read_all(pair, reading, 100_000) >= 100_000
    for _ in range(stalled):
        number = pair.open()
        while pair.served.streams.write(number, bytes(65536)):
            pair.carry(pair.served)
            pair.carry(pair.node)
    held = pair.node.streams.unconsumed
    assert held <= 2 * 1024 * 1024
    assert read_all(pair, reading, 1_000_000) >= 1_000_000
    assert pair.node.streams.unconsumed >= held


def test_N9_a_writer_is_told_when_there_is_room_again(pair: Pair) -> None:
    number = pair.open()
    assert pair.served.streams.write(number, bytes(100_000)) == STREAM_BUFFER_BYTES
    assert pair.served.streams.write(number, bytes(10)) == 0
    pair.carry(pair.served)
    assert pair.served.take_events() == [Writable(number)]
    assert pair.served.take_events() == []


def test_N9_what_nobody_reads_stops_its_writer_alone(pair: Pair) -> None:
    number, written = pair.open(), 0
    while taken := pair.served.streams.write(number, bytes(65536)):
        written += taken
        pair.carry(pair.served)
        pair.carry(pair.node)
    assert written == 256 * 1024 + STREAM_BUFFER_BYTES
    assert pair.node.streams.unconsumed == 256 * 1024


def test_N9_grants_that_wait_are_joined(pair: Pair) -> None:
    number = pair.open()
    while pair.served.streams.write(number, bytes(65536)):
        pair.carry(pair.served)
    for _ in range(2):
        pair.node.streams.consumed(number, 128 * 1024)
    windows = [read(frame, WindowPayload).credit for frame in pair.message(pair.node) if frame.stream == number]
    assert windows == [256 * 1024]


def test_N9_a_reset_gives_the_sessions_credit_back(pair: Pair) -> None:
    for _ in range(40):
        number = pair.open()
        while pair.served.streams.write(number, bytes(65536)):
            pair.carry(pair.served)
        pair.node.streams.reset(number, "internal")
        pair.carry(pair.node)
        pair.served.take_events()
    assert read_all(pair, pair.open(), 3_000_000) >= 3_000_000
