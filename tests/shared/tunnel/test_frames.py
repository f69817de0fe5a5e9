from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tunnel.frames import (
    HEAD_BYTES,
    MAX_FRAME_BYTES,
    TRANSPORT_FAULTS,
    Fault,
    Frame,
    FrameError,
    FrameReader,
    FrameType,
    decode,
    encode,
)
from shared.tunnel.limits import MAX_FRAME_PAYLOAD_BYTES
from shared.tunnel.payloads import (
    HelloPayload,
    OpenRequest,
    OpenResponse,
    PokePayload,
    ResetPayload,
    WelcomePayload,
    WindowPayload,
    read,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import Struct

_T = TypeVar("_T")

FRAMES = st.builds(
    Frame,
    type=st.sampled_from(FrameType),
    stream=st.integers(0, 2**32 - 1),
    payload=st.binary(max_size=100),
    seq=st.integers(0, 2**64 - 1),
    ack=st.integers(0, 2**64 - 1),
    flags=st.integers(0, 2**16 - 1),
)
# Written by hand from network.md: ver, type, flags | stream | seq | ack | len | payload.
VECTORS = [
    (Frame(FrameType.PING), "01120000 00000000 0000000000000000 0000000000000000 00000000"),
    (Frame(FrameType.ACK, ack=258), "01140000 00000000 0000000000000000 0000000000000102 00000000"),
    (
        Frame(FrameType.DATA, 4, b"hi", 7, 9, 0x0102),
        "01020102 00000004 0000000000000007 0000000000000009 00000002 6869",
    ),
    (
        Frame(FrameType.OPEN, 2**32 - 2, b"", 2**64 - 1, 2**63),
        "01010000 fffffffe ffffffffffffffff 8000000000000000 00000000",
    ),
    (Frame(FrameType.WINDOW, 0, write(WindowPayload(65536)), 3), None),
]
TYPES = {
    "OPEN": 1,
    "DATA": 2,
    "END": 3,
    "RESET": 4,
    "WINDOW": 5,
    "HELLO": 16,
    "WELCOME": 17,
    "PING": 18,
    "PONG": 19,
    "ACK": 20,
    "POKE": 21,
    "SWITCH": 22,
    "GOAWAY": 23,
    "STATUS": 24,
}
PAYLOADS: list[type[Struct]] = [
    *(HelloPayload, WelcomePayload, OpenRequest, OpenResponse, ResetPayload, WindowPayload, PokePayload),
]


def tried(action: Callable[[], _T]) -> tuple[_T | None, Fault | None]:
    """Return what came of it, or the fault. Any other exception fails the test."""
    try:
        return action(), None
    except FrameError as error:
        return None, error.fault


@pytest.mark.parametrize(("frame", "hexadecimal"), [vector for vector in VECTORS if vector[1]])
def test_N1_frames_have_these_bytes(frame: Frame, hexadecimal: str) -> None:
    assert encode(frame) == bytes.fromhex(hexadecimal)
    assert list(decode(bytes.fromhex(hexadecimal))) == [frame]


def test_N1_a_window_is_a_map() -> None:
    frame = Frame(FrameType.WINDOW, 4, write(WindowPayload(65536)), 3)
    head = "01050000 00000004 0000000000000003 0000000000000000 0000000d"
    assert encode(frame) == bytes.fromhex(head) + b"\x81\xa6credit\xce\x00\x01\x00\x00"


def test_N1_types_have_these_numbers_and_five_are_sequenced() -> None:
    assert {kind.name: int(kind) for kind in FrameType} == TYPES
    assert [kind.name for kind in FrameType if kind.is_sequenced] == ["OPEN", "DATA", "END", "RESET", "WINDOW"]


@given(st.lists(FRAMES, max_size=5))
def test_N1_a_message_is_its_frames(sent: list[Frame]) -> None:
    assert list(decode(b"".join(map(encode, sent)))) == sent


@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(0, 700), max_size=8))
def test_N1_frames_are_read_from_bytes_cut_anywhere(sent: list[Frame], places: list[int]) -> None:
    message = b"".join(map(encode, sent))
    reader, before = FrameReader(), 0
    read_frames: list[Frame] = []
    for place in [*sorted(min(place, len(message)) for place in places), len(message)]:
        read_frames += reader.feed(message[before:place])
        before = place
    reader.finish()
    assert read_frames == sent


def test_N1_every_byte_may_be_the_last_of_a_piece() -> None:
    sent = [frame for frame, _ in VECTORS]
    message = b"".join(map(encode, sent))
    for cut in range(len(message) + 1):
        reader = FrameReader()
        assert [*reader.feed(message[:cut]), *reader.feed(message[cut:])] == sent


@given(FRAMES, st.data())
def test_N2_a_frame_cut_anywhere_is_refused(frame: Frame, data: st.DataObject) -> None:
    encoded = encode(frame)
    cut = data.draw(st.integers(1, len(encoded) - 1))
    with pytest.raises(FrameError) as refused:
        list(decode(encoded[:cut]))
    assert refused.value.fault is Fault.CUT


@given(st.binary(max_size=200) | FRAMES.map(encode), st.integers(0, 227), st.integers(0, 255))
def test_N2_any_bytes_are_frames_or_a_fault_of_the_transport(message: bytes, place: int, value: int) -> None:
    if place < len(message):
        message = message[:place] + bytes([value]) + message[place + 1 :]
    decoded, fault = tried(lambda: list(decode(message)))
    if decoded is None:
        assert fault in TRANSPORT_FAULTS
    else:
        assert b"".join(map(encode, decoded)) == message


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [(0, 0, Fault.VERSION), (0, 2, Fault.VERSION), (1, 0, Fault.TYPE), (1, 6, Fault.TYPE), (25, 1, Fault.LENGTH)],
)
def test_N2_what_is_no_frame_is_refused_before_its_payload_is_waited_for(place: int, value: int, fault: Fault) -> None:
    head = bytearray(encode(Frame(FrameType.DATA, payload=bytes(5)))[:HEAD_BYTES])
    head[place] = value
    with pytest.raises(FrameError) as refused:
        list(FrameReader().feed(bytes(head)))
    assert refused.value.fault is fault


def test_N2_the_greatest_payload_goes_and_one_byte_more_does_not() -> None:
    greatest = Frame(FrameType.DATA, 2, bytes(MAX_FRAME_PAYLOAD_BYTES), 1)
    assert len(encode(greatest)) == MAX_FRAME_BYTES
    assert list(decode(encode(greatest))) == [greatest]
    with pytest.raises(FrameError):
        encode(Frame(FrameType.DATA, payload=bytes(MAX_FRAME_PAYLOAD_BYTES + 1)))


@given(st.sampled_from(PAYLOADS), st.binary(max_size=300))
def test_N2_any_payload_is_read_or_refused(kind: type[Struct], payload: bytes) -> None:
    found, fault = tried(lambda: read(Frame(FrameType.HELLO, payload=payload), kind))
    assert isinstance(found, kind) or fault is Fault.PAYLOAD


@pytest.mark.parametrize(
    "hello",
    [
        HelloPayload("0" * 31, 1, 0, [], ""),
        HelloPayload("G" * 32, 1, 0, [], ""),
        HelloPayload("0" * 32, 0, 0, [], ""),
        HelloPayload("0" * 32, 2**32, 0, [], ""),
        HelloPayload("0" * 32, 1, -1, [], ""),
        HelloPayload("0" * 32, 1, 2**63, [], ""),
        HelloPayload("0" * 32, 1, 0, ["a"] * 17, ""),
        HelloPayload("0" * 32, 1, 0, ["a" * 33], ""),
        HelloPayload("0" * 32, 1, 0, [], "t" * 4097),
        HelloPayload("0" * 32, 1, 0, [], "", -1),
    ],
)
def test_N2_a_hello_out_of_bounds_is_refused(hello: HelloPayload) -> None:
    with pytest.raises(FrameError) as refused:
        read(Frame(FrameType.HELLO, payload=write(hello)), HelloPayload)
    assert refused.value.fault is Fault.PAYLOAD


@pytest.mark.parametrize(
    "welcome",
    [
        WelcomePayload(True, 1, 0, 0.5, 65536),
        WelcomePayload(True, 1, 0, float("nan"), 65536),
        WelcomePayload(True, 1, 0, float("inf"), 65536),
        WelcomePayload(True, 1, 0, 15.0, 0),
        WelcomePayload(True, 1, 0, 15.0, 65537),
        WelcomePayload(True, 1, -5, 15.0, 65536),
    ],
)
def test_N2_a_welcome_out_of_bounds_is_refused(welcome: WelcomePayload) -> None:
    with pytest.raises(FrameError):
        read(Frame(FrameType.WELCOME, payload=write(welcome)), WelcomePayload)


def test_N2_deep_nesting_is_refused() -> None:
    with pytest.raises(FrameError):
        read(Frame(FrameType.OPEN, payload=b"\x91" * 60_000), OpenRequest)
