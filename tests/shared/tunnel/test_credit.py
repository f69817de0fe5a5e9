from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tunnel.credit import ReceiveCredit, SendCredit
from shared.tunnel.frames import Fault, FrameError
from shared.tunnel.limits import STREAM_CREDIT_BYTES


@given(st.lists(st.integers(1, 200_000), max_size=60), st.sampled_from([None, 1, 4096]))
def test_N9_a_sender_with_credit_never_overruns_its_receiver(wanted: list[int], step: int | None) -> None:
    sender, receiver = SendCredit(), ReceiveCredit()
    in_flight = 0
    for amount in wanted:
        granted = sender.take(amount)
        receiver.received(granted)
        in_flight += granted
        assert in_flight == sender.outstanding <= STREAM_CREDIT_BYTES
        if credit := receiver.consumed(granted, step):
            sender.grant(credit)
            in_flight -= credit
    assert sender.available > 0
    assert receiver.unconsumed == 0


def test_N9_credit_is_granted_at_half() -> None:
    receiver = ReceiveCredit(1000)
    receiver.received(1000)
    assert [receiver.consumed(250) for _ in range(4)] == [0, 500, 0, 500]


def test_N9_a_sender_without_credit_is_caught() -> None:
    receiver = ReceiveCredit()
    with pytest.raises(FrameError) as refused:
        receiver.received(STREAM_CREDIT_BYTES + 1)
    assert refused.value.fault is Fault.CREDIT
    for credit in (0, -1, 1):
        with pytest.raises(FrameError):
            SendCredit().grant(credit)
