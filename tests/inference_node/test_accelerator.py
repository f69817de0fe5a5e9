"""The import door to accel, and the twin behind it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node import accelerator

LINE = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]))


def test_one_line_is_one_field() -> None:
    assert accelerator.plain_encode_event("a:1", "text", b"{}") == b"id: a:1\nevent: text\ndata: {}\n\n"


def test_every_line_break_begins_a_field() -> None:
    frame = accelerator.plain_encode_event("a:1", "text", b"a\r\nb\n\rc\n")
    assert frame == b"id: a:1\nevent: text\ndata: a\ndata: b\ndata: \ndata: c\ndata: \n\n"


@pytest.mark.parametrize("encode", [accelerator.plain_encode_event, accelerator.encode_event])
@pytest.mark.parametrize("wrong", ["a\n", "\r", "a\0b"])
def test_id_and_kind_are_single_lines(encode: object, wrong: str) -> None:
    assert callable(encode)
    for pair in ((wrong, "text"), ("a:1", wrong)):
        with pytest.raises(ValueError, match="single lines"):
            encode(*pair, b"")


@pytest.mark.skipif(not accelerator.accelerated, reason="accel is not built here: make accel")
@given(LINE, LINE, st.binary())
def test_both_encoders_agree(event_id: str, kind: str, data: bytes) -> None:
    twin = accelerator.plain_encode_event(event_id, kind, data)
    assert accelerator.encode_event(event_id, kind, data) == twin


def test_without_accel_the_twin_takes_over() -> None:
    program = (
        "import sys; sys.modules['accel'] = None\n"
        "from inference_node import accelerator as a\n"
        "assert not a.accelerated and a.encode_event is a.plain_encode_event"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
