"""The frame encoder in Rust does what its Python twin does, and is not missed where it is not built."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    EncodeEvent = Callable[[str, str, bytes], bytes]

DOOR = Path(__file__).parents[2] / "inference_node" / "accelerator.py"
# In the checkout `accel` alone is found as a namespace package even where nothing was built.
BUILT = importlib.util.find_spec("accel._native") is not None

needs_accel = pytest.mark.skipif(not BUILT, reason="accel is not built here: install Rust (cargo), then `make accel`")


@functools.cache
def through_the_door(*, with_accel: bool) -> EncodeEvent:
    """Return `encode_event` of a fresh copy of the import door, which finds accel or does not."""
    spec = importlib.util.spec_from_file_location("fresh_accelerator", DOOR)
    assert spec is not None
    assert spec.loader is not None
    door: Any = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        if not with_accel:
            # None in sys.modules makes an import fail as a missing module does.
            for name in [name for name in sys.modules if name.startswith("accel.")] + ["accel", "accel._native"]:
                patch.setitem(sys.modules, name, None)
        spec.loader.exec_module(door)
    encode: EncodeEvent = door.encode_event
    return encode


def outcome(encode: EncodeEvent, event_id: str, kind: str, data: bytes) -> bytes | type[ValueError]:
    try:
        return encode(event_id, kind, data)
    except ValueError:
        return ValueError


fields = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n\0:"), max_size=20)
payloads = st.binary(max_size=200) | st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b": "])).map(b"".join)


@needs_accel
@given(fields, fields, payloads)
@example("a:1", "text", b"")
@example("a:1", "text", b"a\r\n\rb\n")
@example("a\n1", "text", b"{}")
def test_rust_and_python_say_the_same(event_id: str, kind: str, data: bytes) -> None:
    rust = outcome(through_the_door(with_accel=True), event_id, kind, data)
    assert rust == outcome(through_the_door(with_accel=False), event_id, kind, data)


@needs_accel
def test_the_door_leads_to_rust_where_it_is_built() -> None:
    from accel._native import encode_event  # noqa: PLC0415  # Absent on machines without cargo.

    assert through_the_door(with_accel=True) is encode_event


def test_without_accel_the_twin_answers() -> None:
    encode = through_the_door(with_accel=False)
    assert encode("a:1", "text", b'{"text":"hi"}') == b'id: a:1\nevent: text\ndata: {"text":"hi"}\n\n'
    assert encode("a:1", "text", b"a\r\nb\rc\n") == b"id: a:1\nevent: text\ndata: a\ndata: b\ndata: c\ndata: \n\n"


@pytest.mark.parametrize("wrong", ["a\n", "\r", "a\0b"])
def test_ids_and_kinds_are_single_lines(wrong: str) -> None:
    encode = through_the_door(with_accel=False)
    for event_id, kind in ((wrong, "text"), ("a:1", wrong)):
        with pytest.raises(ValueError, match="line"):
            encode(event_id, kind, b"")
