from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tunnel.events import Data, Lost, Opened, Over, SessionEnd
from shared.tunnel.frames import Fault, Frame, FrameError, FrameType, decode
from shared.tunnel.handshake import accept, hello, read_hello, settle
from shared.tunnel.payloads import HelloPayload, WelcomePayload, read, write
from shared.tunnel.session import Session
from shared.tunnel.table import Side
from tests.shared.tunnel.pair import NAME, Pair


def greeting(epoch: int, last_rx: int = 0, since: int = 0, name: str = NAME) -> HelloPayload:
    return HelloPayload(name, epoch, last_rx, [], "token", since)


def welcome(frame: Frame) -> WelcomePayload:
    return read(frame, WelcomePayload)


def test_N13_a_first_hello_begins_a_session() -> None:
    accepted = accept(None, greeting(7), 0.0)
    assert accepted is not None
    assert accepted.ended is None
    found = welcome(accepted.welcome)
    assert (found.resumed, found.epoch, found.since, found.last_rx) == (False, 7, 7, 0)


def test_D4_the_server_says_where_it_sees_the_node() -> None:
    node = Session(NAME, Side.NODE, 0.0)
    for epoch, address in ((7, "203.0.113.9"), (8, "")):
        accepted = accept(None, greeting(epoch), 0.0, address)
        assert accepted is not None
        node = settle(node, NAME, epoch, accepted.welcome, 0.0)
        assert node.seen_at == address


def test_N13_the_newest_epoch_wins_and_older_ones_are_turned_away() -> None:
    pair = Pair()
    pair.epoch = 9
    pair.connect()
    for epoch in (1, 5, 10):
        assert accept(pair.served, greeting(epoch, since=1), pair.now) is None
    accepted = accept(pair.served, greeting(11, since=1), pair.now)
    assert accepted is not None
    assert accepted.session is pair.served
    assert (pair.served.epoch, welcome(accepted.welcome).resumed) == (11, True)


def test_N13_a_node_that_restarted_replaces_its_session() -> None:
    pair = Pair()
    number = pair.open()
    accepted = accept(pair.served, greeting(1, name="f" * 32), pair.now)
    assert accepted is not None
    assert accepted.ended is pair.served
    end = SessionEnd.REPLACED
    assert pair.served.take_events() == [Lost(number, end), Over(end, "")]


def test_N13_a_server_that_restarted_says_so_and_both_begin_anew() -> None:
    pair = Pair()
    number = pair.open()
    before = pair.node
    pair.server = None
    pair.connect()
    assert pair.node is not before
    end = SessionEnd.NOT_RESUMED
    assert before.take_events() == [Lost(number, end), Over(end, "")]
    assert pair.open() == 2


def test_N13_another_history_under_the_same_name_is_not_resumed() -> None:
    pair = Pair()
    pair.open()
    # The server began anew meanwhile, and has sent as much.
    accepted = accept(pair.served, greeting(pair.epoch + 1, last_rx=1, since=99), pair.now)
    assert accepted is not None
    assert accepted.ended is pair.served
    assert not welcome(accepted.welcome).resumed


def test_N13_a_node_that_has_what_was_never_sent_is_not_resumed() -> None:
    pair = Pair()
    accepted = accept(pair.served, greeting(pair.epoch + 1, last_rx=50, since=pair.served.since), pair.now)
    assert accepted is not None
    assert accepted.ended is pair.served


def test_N13_a_lost_welcome_costs_no_stream() -> None:
    node = Session(NAME, Side.NODE, 0.0)
    first = accept(None, read_hello(hello(node, 1, [], "token")), 0.0)
    assert first is not None
    number = first.session.streams.open(b"call")
    first.session.outgoing(0.0)
    second = accept(first.session, read_hello(hello(node, 2, [], "token")), 1.0)
    assert second is not None
    assert second.session is first.session
    node = settle(node, NAME, 2, second.welcome, 1.0)
    assert node.since == 1
    node.receive(2, decode(second.session.outgoing(1.0)), 1.0)
    assert node.take_events() == [Opened(number, b"call")]


def test_N13_acknowledgements_that_overtook_a_hello_do_no_harm() -> None:
    pair = Pair()
    slow = hello(pair.node, pair.epoch + 1, [], "token")
    number = pair.open()
    pair.served.streams.write(number, b"before")
    pair.carry(pair.served)
    pair.pass_time(1)
    pair.carry(pair.node)
    accepted = accept(pair.served, read_hello(slow), pair.now)
    assert accepted is not None
    assert accepted.session is pair.served
    pair.epoch += 1
    assert settle(pair.node, NAME, pair.epoch, accepted.welcome, pair.now) is pair.node
    pair.served.streams.write(number, b"after")
    assert pair.carry(pair.served) == [Data(number, b"after")]


@pytest.mark.parametrize(
    ("fault", "frame"),
    [
        (Fault.ORDER, Frame(FrameType.PING)),
        (Fault.PAYLOAD, Frame(FrameType.WELCOME, payload=b"<html>")),
        (Fault.ORDER, Frame(FrameType.WELCOME, payload=write(WelcomePayload(True, 1, 0, 15.0, 65536, 1)))),
        (Fault.ACK, Frame(FrameType.WELCOME, payload=write(WelcomePayload(True, 2, 9, 15.0, 65536, 1)))),
        (Fault.ACK, Frame(FrameType.WELCOME, payload=write(WelcomePayload(True, 2, 0, 15.0, 65536, 77)))),
    ],
)
def test_N13_a_welcome_that_is_none_is_refused(fault: Fault, frame: Frame) -> None:
    pair = Pair()
    with pytest.raises(FrameError) as refused:
        settle(pair.node, NAME, 2, frame, pair.now)
    assert refused.value.fault is fault


def test_N13_a_welcome_to_a_session_that_is_over_is_refused() -> None:
    pair = Pair()
    frame = Frame(FrameType.WELCOME, payload=write(WelcomePayload(False, 2, 0, 15.0, 65536, 2)))
    with pytest.raises(FrameError):
        settle(pair.node, "f" * 32, 2, frame, pair.now)
    pair.node.close()
    with pytest.raises(FrameError):
        settle(pair.node, NAME, 2, frame, pair.now)


@given(st.sampled_from(FrameType), st.binary(max_size=200))
def test_N2_any_first_frame_is_a_hello_or_refused(kind: FrameType, payload: bytes) -> None:
    refused = None
    try:
        found = read_hello(Frame(kind, payload=payload))
    except FrameError as error:
        refused = error.fault
    if refused is None:
        assert accept(None, found, 0.0) is not None
    else:
        assert refused in {Fault.ORDER, Fault.PAYLOAD}


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1), st.booleans())
def test_N2_any_hello_to_a_live_session_is_answered(epoch: int, last_rx: int, since: int, is_same: bool) -> None:
    pair = Pair()
    pair.open()
    accepted = accept(pair.served, greeting(epoch, last_rx, since, NAME if is_same else "e" * 32), pair.now)
    assert (accepted is None) == (is_same and epoch <= pair.epoch)
