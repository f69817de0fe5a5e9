from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tunnel.machine import Action, Ask, Carry, Close, Connect, Failure, Kind, Machine, State

WEBSOCKET, POLLING = Kind.WEBSOCKET, Kind.POLLING


class Clocked:
    """A machine and its time; `begun` are the attempts, newest last."""

    def __init__(self, seed: int = 1) -> None:
        self.machine = Machine(Random(seed))
        self.now = 0.0
        self.begun: list[Connect] = []
        self.seen(self.machine.start(self.now))

    def is_in(self, state: State) -> bool:
        return self.machine.state is state

    def seen(self, actions: list[Action]) -> list[Action]:
        self.begun += [action for action in actions if isinstance(action, Connect)]
        return actions

    def last(self, kind: Kind) -> int:
        return next(action.epoch for action in reversed(self.begun) if action.kind is kind)

    def welcomed(self, kind: Kind) -> list[Action]:
        return self.seen(self.machine.welcomed(self.last(kind), self.now))

    def failed(self, kind: Kind, failure: Failure) -> list[Action]:
        return self.seen(self.machine.failed(self.last(kind), failure, self.now))

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass, ticking whenever the machine asks for it."""
        until, actions = self.now + seconds, []
        while self.machine.next_tick <= until:
            self.now = max(self.now, self.machine.next_tick)
            actions += self.seen(self.machine.tick(self.now))
        self.now = until
        return actions

    def wait_for_try(self) -> float:
        """Wait out BACKOFF, and return how long it was."""
        assert self.is_in(State.BACKOFF)
        before = self.now
        self.wait(self.machine.next_tick - self.now)
        return self.now - before

    def polling_up(self) -> None:
        self.failed(WEBSOCKET, Failure.REFUSED)
        self.welcomed(POLLING)
        assert self.is_in(State.LP_UP)


def test_N14_a_websocket_is_tried_first() -> None:
    clocked = Clocked()
    assert clocked.begun == [Connect(WEBSOCKET, 2)]
    assert clocked.is_in(State.WS_TRY)
    assert clocked.machine.next_tick == 2.5
    assert clocked.welcomed(WEBSOCKET) == [Carry(2)]
    assert clocked.is_in(State.WS_UP)
    assert clocked.machine.next_tick == math.inf
    assert clocked.machine.start(clocked.now) == []


def test_N14_polling_begins_beside_it_after_2_5_s_and_is_the_older() -> None:
    clocked = Clocked()
    assert clocked.wait(2.4) == []
    assert clocked.wait(0.2) == [Connect(POLLING, 1)]
    # Both come: the WebSocket wins.
    assert clocked.welcomed(POLLING) == [Carry(1)]
    assert clocked.is_in(State.LP_UP)
    assert clocked.welcomed(WEBSOCKET) == [Carry(2), Close(1)]
    assert clocked.is_in(State.SWITCH)


def test_N14_a_websocket_that_comes_first_ends_the_polling() -> None:
    clocked = Clocked()
    clocked.wait(3)
    assert clocked.welcomed(WEBSOCKET) == [Carry(2), Close(1)]
    assert clocked.is_in(State.WS_UP)
    assert clocked.welcomed(POLLING) == clocked.failed(POLLING, Failure.CLOSED) == []


def test_N14_no_101_means_polling_at_once() -> None:
    clocked = Clocked()
    assert clocked.failed(WEBSOCKET, Failure.REFUSED) == [Connect(POLLING, 1)]
    clocked.welcomed(POLLING)
    assert clocked.is_in(State.LP_UP)


def test_N14_no_welcome_within_6_s_means_polling_with_a_newer_epoch() -> None:
    clocked = Clocked()
    # Polling begins at 2.5 s, is turned away because the server has taken the WebSocket's HELLO, and begins again.
    clocked.wait(3)
    clocked.failed(POLLING, Failure.CLOSED)
    assert clocked.is_in(State.WS_TRY)
    assert clocked.wait(3) == [Close(2), Connect(POLLING, 3)]
    assert clocked.welcomed(POLLING) == [Carry(3)]


def test_N14_no_name_or_connection_means_waiting() -> None:
    clocked = Clocked()
    clocked.wait(3)
    assert clocked.failed(WEBSOCKET, Failure.UNREACHABLE) == [Close(1)]
    assert clocked.wait_for_try() <= 0.25
    assert clocked.begun[-1] == Connect(WEBSOCKET, 4)


@given(st.integers(0, 2**32))
def test_N14_waits_double_up_to_30_s_and_are_drawn(seed: int) -> None:
    clocked = Clocked(seed)
    waits = []
    for _ in range(10):
        clocked.failed(WEBSOCKET, Failure.UNREACHABLE)
        waits.append(clocked.wait_for_try())
    for wait, longest in zip(waits, [0.25, 1, 2, 4, 8, 16, 30, 30, 30, 30], strict=True):
        assert 0 <= wait <= longest


def test_N14_waits_are_spread_over_all_their_time() -> None:
    waits = []
    for seed in range(300):
        clocked = Clocked(seed)
        for _ in range(8):
            clocked.failed(WEBSOCKET, Failure.UNREACHABLE)
            waited = clocked.wait_for_try()
        waits.append(waited)
    assert min(waits) < 2
    assert max(waits) > 28


def test_N14_waits_begin_anew_after_10_s_that_held() -> None:
    for held, longest in ((9.9, 8.0), (10.1, 0.25)):
        waits = []
        for seed in range(100):
            clocked = Clocked(seed)
            for _ in range(4):
                clocked.failed(WEBSOCKET, Failure.UNREACHABLE)
                clocked.wait_for_try()
            clocked.welcomed(WEBSOCKET)
            clocked.wait(held)
            clocked.failed(WEBSOCKET, Failure.CLOSED)
            waits.append(clocked.wait_for_try())
        assert max(waits) <= longest
        assert max(waits) > longest * 0.7


@pytest.mark.parametrize("kind", [WEBSOCKET, POLLING])
def test_N14_a_denial_stops_until_the_credentials_change(kind: Kind) -> None:
    clocked = Clocked()
    clocked.wait(3)
    other = Close(1 if kind is WEBSOCKET else 2)
    assert clocked.failed(kind, Failure.DENIED) == [other]
    assert clocked.is_in(State.AUTH_STOP)
    assert clocked.machine.next_tick == math.inf
    assert clocked.machine.network_changed(clocked.now) == []
    assert clocked.seen(clocked.machine.credentials_changed(clocked.now)) == [Connect(WEBSOCKET, 4)]


def test_N14_two_short_lives_mean_polling() -> None:
    clocked = Clocked()
    for _ in range(2):
        clocked.welcomed(WEBSOCKET)
        clocked.wait(9)
        clocked.failed(WEBSOCKET, Failure.CLOSED)
        clocked.wait_for_try()
    assert clocked.begun[-1].kind is POLLING
    clocked.welcomed(POLLING)
    assert clocked.is_in(State.LP_UP)


def test_N14_lives_of_30_s_do_not() -> None:
    clocked = Clocked()
    for _ in range(5):
        clocked.welcomed(WEBSOCKET)
        clocked.wait(30)
        clocked.failed(WEBSOCKET, Failure.CLOSED)
        assert clocked.wait_for_try() <= 0.25
    assert {begun.kind for begun in clocked.begun} == {WEBSOCKET}


def test_N14_a_suspect_that_dies_is_tried_again_without_a_wait() -> None:
    clocked = Clocked()
    clocked.welcomed(WEBSOCKET)
    clocked.wait(100)
    clocked.machine.suspected()
    assert clocked.is_in(State.SUSPECT)
    clocked.machine.lives()
    assert clocked.is_in(State.WS_UP)
    clocked.machine.suspected()
    assert clocked.failed(WEBSOCKET, Failure.DEAD) == [Connect(WEBSOCKET, 4)]
    assert clocked.is_in(State.WS_TRY)


def test_N14_while_polling_a_websocket_is_tried_again_ever_more_rarely() -> None:
    clocked = Clocked()
    clocked.polling_up()
    for seconds in (60, 120, 240, 480, 900, 900):
        wait = clocked.machine.next_tick - clocked.now
        assert seconds * 0.8 <= wait <= seconds * 1.2
        (probe,) = clocked.wait(wait)
        assert isinstance(probe, Connect)
        assert probe.kind is WEBSOCKET
        clocked.failed(WEBSOCKET, Failure.REFUSED)
        assert clocked.is_in(State.LP_UP)


def test_N14_a_probe_that_works_switches_and_then_the_websocket_is_up() -> None:
    for polling_ends in (True, False):
        clocked = Clocked()
        clocked.polling_up()
        clocked.wait(clocked.machine.next_tick - clocked.now)
        assert clocked.welcomed(WEBSOCKET) == [Carry(3), Close(1)]
        assert clocked.is_in(State.SWITCH)
        if polling_ends:
            assert clocked.failed(POLLING, Failure.CLOSED) == []
        else:
            assert clocked.wait(3) == [Close(1)]
        assert clocked.is_in(State.WS_UP)


def test_N14_polling_that_breaks_is_polling_again() -> None:
    clocked = Clocked()
    clocked.polling_up()
    clocked.wait(20)
    clocked.failed(POLLING, Failure.DEAD)
    clocked.wait_for_try()
    assert clocked.begun[-1].kind is POLLING
    # Where it does not even begin, nothing is known of this network.
    clocked.failed(POLLING, Failure.REFUSED)
    clocked.wait_for_try()
    assert clocked.begun[-1].kind is WEBSOCKET


def test_N14_when_neither_works_it_waits() -> None:
    clocked = Clocked()
    clocked.failed(WEBSOCKET, Failure.REFUSED)
    clocked.failed(POLLING, Failure.REFUSED)
    assert clocked.is_in(State.BACKOFF)
    clocked = Clocked()
    clocked.wait(3)
    clocked.failed(POLLING, Failure.UNREACHABLE)
    clocked.failed(WEBSOCKET, Failure.REFUSED)
    assert clocked.is_in(State.BACKOFF)


def test_N14_a_change_of_network_is_acted_on_at_once() -> None:
    clocked = Clocked()
    clocked.welcomed(WEBSOCKET)
    assert clocked.machine.network_changed(clocked.now) == [Ask()]
    assert clocked.is_in(State.SUSPECT)
    clocked = Clocked()
    clocked.polling_up()
    assert clocked.seen(clocked.machine.network_changed(clocked.now)) == [Ask(), Connect(WEBSOCKET, 3)]
    assert clocked.seen(clocked.machine.network_changed(clocked.now)) == [Ask()]
    clocked = Clocked()
    clocked.failed(WEBSOCKET, Failure.UNREACHABLE)
    assert clocked.seen(clocked.machine.network_changed(clocked.now)) == [Connect(WEBSOCKET, 4)]
    assert clocked.seen(clocked.machine.network_changed(clocked.now)) == [Close(4), Connect(WEBSOCKET, 6)]


def test_N14_stopping_ends_everything() -> None:
    clocked = Clocked()
    clocked.wait(3)
    assert clocked.machine.stop() == [Close(2), Close(1)]
    assert (clocked.machine.state, clocked.machine.next_tick) == (State.INIT, math.inf)


STEPS = st.tuples(st.sampled_from(["wait", "welcome", "fail", "change", "suspect", "live", "late"]), st.integers(0, 99))
FAILURES = [failure for failure in Failure if failure is not Failure.DENIED]


def step(clocked: Clocked, kind: str, number: int, epoch: int) -> list[Action]:
    """Let one thing happen to the machine, and return what it says."""
    match kind:
        case "wait":
            return clocked.wait(number / 3)
        case "welcome":
            return clocked.machine.welcomed(epoch, clocked.now)
        case "fail":
            return clocked.machine.failed(epoch, FAILURES[number % len(FAILURES)], clocked.now)
        case "change":
            return clocked.machine.network_changed(clocked.now)
        case "suspect":
            clocked.machine.suspected()
        case "live":
            clocked.machine.lives()
        case _:  # Of a transport that was closed long ago.
            return [
                *clocked.machine.welcomed(0, clocked.now),
                *clocked.machine.failed(0, Failure.DENIED, clocked.now),
            ]
    return []


@given(st.lists(STEPS, max_size=60))
def test_N14_whatever_happens_one_transport_carries_and_something_is_waited_for(steps: list[tuple[str, int]]) -> None:
    clocked = Clocked()
    opened, carrier = {2}, 0
    for kind, number in steps:
        epoch = sorted(opened)[number % len(opened)] if opened else 0
        actions = step(clocked, kind, number, epoch)
        if kind == "fail":
            opened.discard(epoch)
        for action in actions:
            if isinstance(action, Connect):
                assert action.epoch not in opened
                opened.add(action.epoch)
            elif isinstance(action, Close):
                opened.discard(action.epoch)
            elif isinstance(action, Carry):
                assert action.epoch in opened
                assert action.epoch > carrier, "an older transport took over"
                carrier = action.epoch
        assert len(opened) <= 2
        if clocked.machine.state in {State.WS_UP, State.SUSPECT, State.LP_UP}:
            assert carrier in opened
        else:
            assert clocked.machine.next_tick < math.inf
