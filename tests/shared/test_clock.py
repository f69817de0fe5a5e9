from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import clock
from shared.limits import MAX_CLOCK_AHEAD_MS, MAX_CLOCK_COUNTER

DEVICES = st.binary(min_size=8, max_size=8)
TIMES = st.integers(0, 2**47)
CLOCKS = st.builds(clock.pack, TIMES, st.integers(0, MAX_CLOCK_COUNTER), DEVICES)


@given(CLOCKS)
def test_C1_parts_come_back_out(packed: bytes) -> None:
    assert clock.pack(clock.milliseconds(packed), clock.counter(packed), clock.device(packed)) == packed
    assert len(packed) == 16


@given(CLOCKS, st.integers(-(2**50), 2**50), DEVICES)
def test_C2_next_clock_is_greater_whatever_the_time(last: bytes, now_ms: int, device: bytes) -> None:
    after = clock.tick(last, now_ms, device)
    assert after > last
    assert clock.device(after) == device


@given(CLOCKS, DEVICES)
def test_C3_spent_counter_takes_the_next_millisecond(last: bytes, device: bytes) -> None:
    spent = clock.pack(clock.milliseconds(last), MAX_CLOCK_COUNTER, device)
    after = clock.tick(spent, 0, device)
    assert (clock.milliseconds(after), clock.counter(after)) == (clock.milliseconds(spent) + 1, 0)


@given(CLOCKS, CLOCKS, TIMES)
def test_C5_clock_from_the_future_moves_nothing(last: bytes, seen: bytes, now_ms: int) -> None:
    observed = clock.observe(last, seen, now_ms, MAX_CLOCK_AHEAD_MS)
    if clock.milliseconds(seen) > now_ms + MAX_CLOCK_AHEAD_MS:
        assert observed == last
    else:
        assert observed == max(last, seen)


@pytest.mark.parametrize(
    ("milliseconds", "counter", "device"),
    [(-1, 0, bytes(8)), (2**48, 0, bytes(8)), (0, 2**16, bytes(8)), (0, -1, bytes(8)), (0, 0, bytes(7))],
)
def test_C1_parts_that_do_not_fit_are_refused(milliseconds: int, counter: int, device: bytes) -> None:
    with pytest.raises(ValueError, match=r"clock|device"):
        clock.pack(milliseconds, counter, device)
