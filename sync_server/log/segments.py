"""How a page of the state is cut into segments (rule L23)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.limits import SEGMENT_BYTES
from shared.segments import pack_segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.segments import Cell


def segments_of(cells: Sequence[Cell]) -> list[bytes]:
    """Return cells in the order of keys as segments: of one scope each, none too long, entities whole."""
    return [pack_segment(piece) for piece in _pieces(cells)]


def _pieces(cells: Sequence[Cell]) -> Iterator[Sequence[Cell]]:
    start = size = 0
    scope: bytes | None = None
    place: tuple[int, bytes] | None = None
    for index, (_, etype, eid, _, cell_scope, _, value, _) in enumerate(cells):
        if cell_scope != scope or (size >= SEGMENT_BYTES and (etype, eid) != place):
            if index > start:
                yield cells[start:index]
            start, size, scope = index, 0, cell_scope
        place = (etype, eid)
        size += len(value)
    if cells:
        yield cells[start:]
