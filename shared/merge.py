"""Merging changes into cells: a last-writer-wins map by clock (rules L6, L7, L18)."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

from shared.canonical import canonical_bytes
from shared.change import CellKey, Change, ConversationField, EntityType, cell_key, is_purge

Cells = MutableMapping[CellKey, Change]


def wins(challenger: Change, holder: Change | None) -> bool:
    """Say whether `challenger` replaces `holder` in their cell.

    The greater clock wins. Equal clocks with different bytes come from a cloned device and take the
    greater canonical bytes, so that every replica agrees; equal bytes are the same change.
    """
    if holder is None or challenger.clk > holder.clk:
        return True
    if challenger.clk < holder.clk:
        return False
    return canonical_bytes(0, challenger) > canonical_bytes(0, holder)


def is_clone(challenger: Change, holder: Change) -> bool:
    """Say whether two changes to one cell share a clock but not their bytes: an alarm (L7)."""
    return challenger.clk == holder.clk and canonical_bytes(0, challenger) != canonical_bytes(0, holder)


def merge(cells: Cells, changes: Iterable[Change]) -> list[Change]:
    """Apply `changes` to `cells` in place and return those that won, in order.

    A purge takes the other cells of its conversation out, and what is written to it later is dropped (L18).
    """
    winners = []
    for change in changes:
        key = cell_key(change)
        if not is_purge(change) and tombstone_key(change.scope) in cells:
            continue
        if wins(change, cells.get(key)):
            if is_purge(change):
                for gone in [other for other, cell in cells.items() if cell.scope == change.scope]:
                    del cells[gone]
            cells[key] = change
            winners.append(change)
    return winners


def tombstone_key(scope: bytes) -> CellKey:
    """Return the cell whose being there says that the conversation is purged."""
    return (EntityType.CONVERSATION, scope, ConversationField.PURGED)
