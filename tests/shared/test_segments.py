"""Rule L23: cells in columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.change import Change, PulledChange, cell_key
from shared.limits import MAX_SEQUENCE
from shared.segments import Cell, pack_segment, unpack_segment
from tests.shared.strategies import CHANGES, ENTITY_IDS

VECTORS = Path(__file__).parents[2] / "shared" / "vectors" / "segments.json"


def described(change: PulledChange) -> dict[str, Any]:
    members = msgspec.structs.asdict(change)
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in members.items()}


def cells_of(changes: list[Change], scope: bytes, first_seq: int) -> list[Cell]:
    """As a page of the state has them: of one scope, in the order of keys."""
    ordered = sorted({cell_key(change): change for change in changes}.values(), key=cell_key, reverse=True)
    return [
        (change.clk, change.etype, change.eid, change.field, scope, change.kid, change.value, first_seq + index)
        for index, change in enumerate(ordered)
    ]


CELLS = st.builds(cells_of, st.lists(CHANGES, min_size=1, max_size=12), ENTITY_IDS, st.integers(0, MAX_SEQUENCE - 100))


@given(CELLS)
def test_L23_a_segment_gives_its_cells_back(cells: list[Cell]) -> None:
    assert unpack_segment(pack_segment(cells)) == [PulledChange(*cell) for cell in cells]


@given(CELLS, st.data())
def test_L23_what_is_cut_short_or_goes_on_is_no_segment(cells: list[Cell], data: st.DataObject) -> None:
    packed = pack_segment(cells)
    with pytest.raises(ValueError, match="not a segment"):
        unpack_segment(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(ValueError, match="not a segment"):
        unpack_segment(packed + b"\x00")


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text("utf-8"))["vectors"], ids=lambda vector: vector["id"])
def test_L23_vectors(vector: dict[str, Any]) -> None:
    cells = unpack_segment(bytes.fromhex(vector["input"]))
    assert [described(cell) for cell in cells] == vector["result"]
