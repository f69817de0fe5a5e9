"""One number for all that a replica holds, so that a silent gap shows (rule L20)."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from shared.change import ConversationField, EntityType
from shared.limits import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

# (clk, etype, eid, field): a clock is one change's alone, so values need not be read.
Entry = tuple[bytes, int, bytes, int]

_ENTRY = struct.Struct(">16sH16sH")


def digest(entries: Iterable[Entry]) -> tuple[int, bytes]:
    """Return how many cells count, and the XOR of their SHA-256, 32 bytes: the same in any order.

    Tombstones do not count, for the server lets go of them before the devices do (L19).
    """
    count, folded = 0, 0
    for clk, etype, eid, field in entries:
        if etype == EntityType.CONVERSATION and field == ConversationField.PURGED:
            continue
        count += 1
        folded ^= int.from_bytes(hashlib.sha256(_ENTRY.pack(clk, etype, eid, field)).digest(), "big")
    return count, folded.to_bytes(HASH_BYTES, "big")


def joined(one: tuple[int, bytes], other: tuple[int, bytes]) -> tuple[int, bytes]:
    """Return the digest of two parts that share no cell."""
    folded = int.from_bytes(one[1], "big") ^ int.from_bytes(other[1], "big")
    return one[0] + other[0], folded.to_bytes(HASH_BYTES, "big")
