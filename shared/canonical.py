"""Canonical bytes of a change and the hash chain over a device's log (rules L4, L5)."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from shared.limits import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.change import Change

FIRST_HASH = bytes(HASH_BYTES)

_HEAD = struct.Struct(">Q16sH16sH16sII")


def canonical_bytes(dseq: int, change: Change) -> bytes:
    """Return `dseq u64 | clk 16 | etype u16 | eid 16 | field u16 | scope 16 | kid u32 | length u32 | value`."""
    head = _HEAD.pack(
        dseq,
        change.clk,
        change.etype,
        change.eid,
        change.field,
        change.scope,
        change.kid,
        len(change.value),
    )
    return head + change.value


def next_hash(previous: bytes, dseq: int, change: Change) -> bytes:
    """Return SHA-256(previous | canonical bytes): the chain's value at `dseq`, 32 bytes."""
    return hashlib.sha256(previous + canonical_bytes(dseq, change)).digest()


def fold_hashes(previous: bytes, first_dseq: int, changes: Iterable[Change]) -> list[bytes]:
    """Return the chain's value after each change of a batch, in order."""
    hashes = []
    for dseq, change in enumerate(changes, first_dseq):
        previous = next_hash(previous, dseq, change)
        hashes.append(previous)
    return hashes
