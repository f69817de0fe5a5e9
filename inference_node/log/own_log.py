"""A device's own log: its chain of hashes for good, and its changes until the server has them (rules L5, L8-L10).

Every function works inside a transaction of the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from shared.canonical import FIRST_HASH, next_hash
from shared.change import Change
from shared.wire import IfLease

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiosqlite import Connection, Row

_changes = msgspec.msgpack.Decoder(Change)
_leases = msgspec.msgpack.Decoder(IfLease)


class Own(NamedTuple):
    """A change of the own log, and the lease under which alone it counts.

    What is an offer was made long ago, perhaps by others, and keeps its clock (L21).
    """

    change: Change
    lease: IfLease | None = None
    is_offer: bool = False


class Batch(NamedTuple):
    """The beginning of the outbox: changes `first_dseq`…, the chain's value before them, and their lease."""

    first_dseq: int
    prev_hash: bytes
    changes: list[Change]
    if_lease: IfLease | None


async def append(connection: Connection, account_id: bytes, owned: Iterable[Own]) -> None:
    """Put changes at the end of the log."""
    dseq, tail = await _tail(connection, account_id)
    for change, lease, is_offer in owned:
        dseq += 1
        tail = next_hash(tail, dseq, change)
        encoded_lease = None if lease is None else msgspec.msgpack.encode(lease)
        row = (account_id, dseq, tail, msgspec.msgpack.encode(change), encoded_lease, is_offer)
        await connection.execute("INSERT INTO own_change VALUES (?, ?, ?, ?, ?, ?)", row)


async def outbox(connection: Connection, account_id: bytes, limit: int, limit_bytes: int) -> Batch | None:
    """Return the next changes to push, at least one, within both limits and of one lease; None when there is none."""
    query = "SELECT * FROM own_change WHERE account_id = ? AND change IS NOT NULL ORDER BY dseq LIMIT ?"
    rows = list(await connection.execute_fetchall(query, (account_id, limit)))
    if not rows:
        return None
    taken: list[Change] = []
    size = 0
    for row in rows:
        size += len(row["change"])
        if taken and (size > limit_bytes or row["lease"] != rows[0]["lease"]):
            break
        taken.append(_changes.decode(row["change"]))
    first = rows[0]["dseq"]
    prev_hash = await hash_at(connection, account_id, first - 1)
    if prev_hash is None:
        raise LookupError(f"the chain has no value at {first - 1}")
    return Batch(first, prev_hash, taken, _own(rows[0]).lease)


async def acknowledge(connection: Connection, account_id: bytes, acked_dseq: int) -> None:
    """Take what the server has committed out of the outbox; its hashes stay."""
    query = "UPDATE own_change SET change = NULL WHERE account_id = ? AND dseq <= ? AND change IS NOT NULL"
    await connection.execute(query, (account_id, acked_dseq))


async def hash_at(connection: Connection, account_id: bytes, dseq: int) -> bytes | None:
    """Return the chain's value at `dseq`, or None where this device never was."""
    if dseq == 0:
        return FIRST_HASH
    query = "SELECT hash FROM own_change WHERE account_id = ? AND dseq = ?"
    async with connection.execute(query, (account_id, dseq)) as cursor:
        row = await cursor.fetchone()
    return row["hash"] if row else None


async def waiting(connection: Connection, account_id: bytes) -> list[Own]:
    """Return the whole outbox."""
    query = "SELECT * FROM own_change WHERE account_id = ? AND change IS NOT NULL ORDER BY dseq"
    return [_own(row) for row in await connection.execute_fetchall(query, (account_id,))]


async def replace_after(connection: Connection, account_id: bytes, dseq: int, owned: Iterable[Own]) -> None:
    """Cut the log after `dseq` and continue it with these changes."""
    await connection.execute("DELETE FROM own_change WHERE account_id = ? AND dseq > ?", (account_id, dseq))
    await append(connection, account_id, owned)


def _own(row: Row) -> Own:
    lease = None if row["lease"] is None else _leases.decode(row["lease"])
    return Own(_changes.decode(row["change"]), lease, bool(row["is_offer"]))


async def _tail(connection: Connection, account_id: bytes) -> tuple[int, bytes]:
    query = "SELECT dseq, hash FROM own_change WHERE account_id = ? ORDER BY dseq DESC LIMIT 1"
    async with connection.execute(query, (account_id,)) as cursor:
        row = await cursor.fetchone()
    return (row["dseq"], row["hash"]) if row else (0, FIRST_HASH)
