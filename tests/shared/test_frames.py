from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import frames
from shared.frames import Frame, FrameError, FrameType
from shared.limits import MAX_FRAME_PAYLOAD_BYTES, STREAM_CREDIT_BYTES

FRAMES = st.builds(
    Frame,
    type=st.sampled_from(FrameType),
    stream=st.integers(0, 2**32 - 1),
    payload=st.binary(max_size=100),
    seq=st.integers(0, 2**64 - 1),
    ack=st.integers(0, 2**64 - 1),
    flags=st.integers(0, 2**16 - 1),
)


@given(st.lists(FRAMES, max_size=5))
def test_T1_a_message_is_its_frames(sent: list[Frame]) -> None:
    assert list(frames.decode(b"".join(map(frames.encode, sent)))) == sent


@given(FRAMES, st.data())
def test_T1_a_frame_cut_anywhere_is_refused(frame: Frame, data: st.DataObject) -> None:
    encoded = frames.encode(frame)
    cut = data.draw(st.integers(1, len(encoded) - 1))
    with pytest.raises(FrameError):
        list(frames.decode(encoded[:cut]))


@given(st.binary(max_size=200))
def test_T1_any_bytes_are_frames_or_an_error(message: bytes) -> None:
    try:
        decoded = list(frames.decode(message))
    except FrameError:
        return
    assert b"".join(map(frames.encode, decoded)) == message


def test_T1_an_oversized_payload_is_refused_at_both_ends() -> None:
    with pytest.raises(FrameError):
        frames.encode(Frame(FrameType.DATA, payload=bytes(MAX_FRAME_PAYLOAD_BYTES + 1)))
    head = frames.encode(Frame(FrameType.DATA))[:-4] + (2**32 - 1).to_bytes(4, "big")
    with pytest.raises(FrameError):
        list(frames.decode(head))


@given(st.lists(st.integers(1, 200_000), max_size=60))
def test_T4_a_sender_with_credit_never_overruns_its_receiver(wanted: list[int]) -> None:
    sender, receiver = frames.SendCredit(), frames.ReceiveCredit()
    in_flight = 0
    for amount in wanted:
        granted = sender.take(amount)
        receiver.received(granted)
        in_flight += granted
        assert in_flight <= STREAM_CREDIT_BYTES
        if credit := receiver.consumed(granted):
            sender.grant(credit)
            in_flight -= credit
    assert sender.available > 0


def test_T4_a_sender_without_credit_is_caught() -> None:
    receiver = frames.ReceiveCredit()
    with pytest.raises(FrameError):
        receiver.received(STREAM_CREDIT_BYTES + 1)
    with pytest.raises(FrameError):
        frames.SendCredit().grant(1)
