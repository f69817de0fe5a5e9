"""Cells of one conversation in one byte string, a column for each member (rule L23).

A device that reads an account for the first time keeps segments as they come: a record for each entity costs a browser
ten times as much. Each column is laid out by the significance of its bytes, all first bytes before all second ones, so
that what the values have in common stands together and compresses to nothing.
"""

from __future__ import annotations

import struct
from itertools import accumulate, groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from shared.change import PulledChange
from shared.limits import CLOCK_BYTES, ENTITY_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# The members of a PulledChange in their order.
Cell = tuple[bytes, int, bytes, int, bytes, int, bytes, int]

_HEAD = struct.Struct(f">{ENTITY_ID_BYTES}sII")
_U16, _U32, _U64 = (2, "H"), (4, "I"), (8, "Q")


class _Entity(NamedTuple):
    etype: int
    eid: bytes
    cells: int


def pack_segment(cells: Sequence[Cell]) -> bytes:
    """Return `scope 16 | entities u32 | cells u32`, the columns, and the values.

    Columns of the entities: etype u16, eid 16, number of cells u32. Of the cells: field u16, clk 16, kid u32, seq u64,
    length of the value u32. The cells are of one scope, those of an entity together; there is one at least.
    """
    clocks, _, _, fields, scopes, kids, values, sequences = zip(*cells, strict=True)
    entities = [_Entity(etype, eid, len(list(own))) for (etype, eid), own in groupby(cells, lambda cell: cell[1:3])]
    return b"".join(
        (
            _HEAD.pack(scopes[0], len(entities), len(cells)),
            _numbers(_U16, [entity.etype for entity in entities]),
            _planes(b"".join(entity.eid for entity in entities), ENTITY_ID_BYTES),
            _numbers(_U32, [entity.cells for entity in entities]),
            _numbers(_U16, fields),
            _planes(b"".join(clocks), CLOCK_BYTES),
            _numbers(_U32, kids),
            _numbers(_U64, sequences),
            _numbers(_U32, list(map(len, values))),
            *values,
        )
    )


def unpack_segment(segment: bytes) -> list[PulledChange]:
    """Return the cells of a segment. Raises ValueError for bytes that are none."""
    try:
        return _unpacked(segment)
    except struct.error as error:
        raise ValueError("not a segment") from error


def _unpacked(segment: bytes) -> list[PulledChange]:
    scope, entity_count, count = _HEAD.unpack_from(segment)
    columns = _Columns(segment, _HEAD.size)
    etypes = columns.numbers(_U16, entity_count)
    eids = columns.rows(ENTITY_ID_BYTES, entity_count)
    owned = columns.numbers(_U32, entity_count)
    fields = columns.numbers(_U16, count)
    clocks = columns.rows(CLOCK_BYTES, count)
    kids = columns.numbers(_U32, count)
    sequences = columns.numbers(_U64, count)
    ends = list(accumulate(columns.numbers(_U32, count), initial=columns.position))
    places = [(etype, eid) for etype, eid, own in zip(etypes, eids, owned, strict=True) for _ in range(own)]
    if len(places) != count or ends[-1] != len(segment):
        raise ValueError("not a segment")
    values = [segment[start:end] for start, end in pairwise(ends)]
    return [
        PulledChange(clk, etype, eid, field, scope, kid, value, seq)
        for (etype, eid), field, clk, kid, seq, value in zip(
            places, fields, clocks, kids, sequences, values, strict=True
        )
    ]


class _Columns:
    """Reads column after column."""

    def __init__(self, segment: bytes, position: int) -> None:
        self._segment = segment
        self.position = position

    def rows(self, width: int, count: int) -> list[bytes]:
        """Return `count` byte strings of `width` bytes each."""
        joined = self._joined(width, count)
        return [joined[start : start + width] for start in range(0, width * count, width)]

    def numbers(self, kind: tuple[int, str], count: int) -> tuple[int, ...]:
        """Return `count` whole numbers."""
        width, letter = kind
        return struct.unpack(f">{count}{letter}", self._joined(width, count))

    def _joined(self, width: int, count: int) -> bytes:
        column = self._segment[self.position : self.position + width * count]
        if len(column) != width * count:
            raise ValueError("not a segment")
        self.position += width * count
        joined = bytearray(width * count)
        for place in range(width):
            joined[place::width] = column[place * count : (place + 1) * count]
        return bytes(joined)


def _numbers(kind: tuple[int, str], numbers: Iterable[int]) -> bytes:
    width, letter = kind
    listed = list(numbers)
    return _planes(struct.pack(f">{len(listed)}{letter}", *listed), width)


def _planes(column: bytes, width: int) -> bytes:
    return b"".join(column[place::width] for place in range(width))
