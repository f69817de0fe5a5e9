"""The node's copy of an account's log: cells, cursor, and changes of its own that wait to be pushed (rules C, L).

Every function works inside a transaction of the caller, so that what belongs together is committed together (L15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from inference_node import clock
from shared import clock as hybrid_clock
from shared import values
from shared.canonical import FIRST_HASH, next_hash
from shared.change import Change, PulledChange
from shared.limits import MAX_CLOCK_AHEAD_MS
from shared.merge import wins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiosqlite import Connection, Row

_decoder = msgspec.msgpack.Decoder(Change)


class Write(NamedTuple):
    """A field that the node writes; `value` is not encoded yet."""

    etype: int
    eid: bytes
    field: int
    scope: bytes
    value: object


async def account(connection: Connection, account_id: bytes) -> Row | None:
    """Return the account's row, or None when the node has never served it."""
    async with connection.execute("SELECT * FROM account WHERE account_id = ?", (account_id,)) as cursor:
        return await cursor.fetchone()


async def serve(connection: Connection, account_id: bytes, device_id: bytes, offset_ms: int) -> None:
    """Serve the account as this device from now on.

    A device that the server has not seen before begins its log anew, with what was still to be pushed (L8).
    """
    row = await account(connection, account_id)
    if row is None:
        query = "INSERT INTO account (account_id, device_id, is_granted, last_clock, offset_ms) VALUES (?, ?, 1, ?, ?)"
        await connection.execute(query, (account_id, device_id, hybrid_clock.ZERO, offset_ms))
        return
    query = "UPDATE account SET is_granted = 1, device_id = ?, offset_ms = ? WHERE account_id = ?"
    await connection.execute(query, (device_id, offset_ms, account_id))
    if row["device_id"] != device_id:
        changes = await restamp(connection, account_id, await waiting(connection, account_id))
        await replace_after(connection, account_id, 0, changes)


async def write(connection: Connection, account_id: bytes, writes: Sequence[Write]) -> list[Change]:
    """Make changes of the node's own: stamped, merged into the cells, and put into the outbox.

    Raises LookupError for an account that the node does not know.
    """
    changes = []
    last_clock, device_id, now_ms = await _stamp(connection, account_id)
    for field in writes:
        last_clock = hybrid_clock.tick(last_clock, now_ms, device_id)
        changes.append(Change(last_clock, *field[:4], 0, values.encode(field.value)))
    await _set_clock(connection, account_id, last_clock)
    await append(connection, account_id, changes)
    for change in changes:
        await _merge(connection, account_id, change, 0)
    return changes


async def append(connection: Connection, account_id: bytes, changes: Iterable[Change]) -> None:
    """Put changes at the end of the node's own log."""
    dseq, tail = await _tail(connection, account_id)
    for change in changes:
        dseq += 1
        tail = next_hash(tail, dseq, change)
        row = (account_id, dseq, tail, msgspec.msgpack.encode(change))
        await connection.execute("INSERT INTO own_change VALUES (?, ?, ?, ?)", row)


async def apply_pulled(connection: Connection, account_id: bytes, changes: Sequence[PulledChange]) -> None:
    """Merge changes from the server and move the clock past them (C2, C5)."""
    last_clock, _, now_ms = await _stamp(connection, account_id)
    for pulled in changes:
        last_clock = hybrid_clock.observe(last_clock, pulled.clk, now_ms, MAX_CLOCK_AHEAD_MS)
        fields = [getattr(pulled, name) for name in Change.__struct_fields__]
        await _merge(connection, account_id, Change(*fields), pulled.seq)
    await _set_clock(connection, account_id, last_clock)


async def cells_of_scope(connection: Connection, account_id: bytes, scope: bytes) -> list[Change]:
    """Return the cells of a conversation."""
    query = "SELECT * FROM cell WHERE account_id = ? AND scope = ?"
    return [to_change(row) for row in await connection.execute_fetchall(query, (account_id, scope))]


def to_change(row: Row) -> Change:
    """Return a cell's row as the change that it holds."""
    return Change(*(row[name] for name in Change.__struct_fields__))


class Batch(NamedTuple):
    """The beginning of the outbox: changes `first_dseq`…, and the chain's value before them."""

    first_dseq: int
    prev_hash: bytes
    changes: list[Change]


async def outbox(connection: Connection, account_id: bytes, limit: int, limit_bytes: int) -> Batch | None:
    """Return the next changes to push, at least one and within both limits; None when all is acknowledged."""
    query = "SELECT dseq, change FROM own_change WHERE account_id = ? AND change IS NOT NULL ORDER BY dseq LIMIT ?"
    rows = list(await connection.execute_fetchall(query, (account_id, limit)))
    if not rows:
        return None
    taken: list[Change] = []
    size = 0
    for row in rows:
        size += len(row["change"])
        if taken and size > limit_bytes:
            break
        taken.append(_decoder.decode(row["change"]))
    first = rows[0]["dseq"]
    prev_hash = await hash_at(connection, account_id, first - 1)
    if prev_hash is None:
        raise LookupError(f"the chain has no value at {first - 1}")
    return Batch(first, prev_hash, taken)


async def acknowledge(connection: Connection, account_id: bytes, acked_dseq: int) -> None:
    """Take what the server has committed out of the outbox; its hashes stay."""
    query = "UPDATE own_change SET change = NULL WHERE account_id = ? AND dseq <= ? AND change IS NOT NULL"
    await connection.execute(query, (account_id, acked_dseq))


async def hash_at(connection: Connection, account_id: bytes, dseq: int) -> bytes | None:
    """Return the chain's value at `dseq`, or None where the node never was."""
    if dseq == 0:
        return FIRST_HASH
    query = "SELECT hash FROM own_change WHERE account_id = ? AND dseq = ?"
    async with connection.execute(query, (account_id, dseq)) as cursor:
        row = await cursor.fetchone()
    return row["hash"] if row else None


async def waiting(connection: Connection, account_id: bytes) -> list[Change]:
    """Return the whole outbox."""
    query = "SELECT change FROM own_change WHERE account_id = ? AND change IS NOT NULL ORDER BY dseq"
    return [_decoder.decode(row["change"]) for row in await connection.execute_fetchall(query, (account_id,))]


async def replace_after(connection: Connection, account_id: bytes, dseq: int, changes: Iterable[Change]) -> None:
    """Cut the node's own log after `dseq` and continue it with `changes`."""
    await connection.execute("DELETE FROM own_change WHERE account_id = ? AND dseq > ?", (account_id, dseq))
    await append(connection, account_id, changes)


async def restamp(connection: Connection, account_id: bytes, changes: Iterable[Change]) -> list[Change]:
    """Return the changes with new clocks of this device, replacing theirs in the cells where they still stand."""
    _, device_id, now_ms = await _stamp(connection, account_id)
    # The new clocks follow what the server has, not the clock that was too far ahead for it.
    query = "SELECT max(clk) AS clk FROM cell WHERE account_id = ? AND seq > 0"
    async with connection.execute(query, (account_id,)) as cursor:
        row = await cursor.fetchone()
    last_clock = row["clk"] if row and row["clk"] else hybrid_clock.ZERO
    stamped = []
    for change in changes:
        last_clock = hybrid_clock.tick(last_clock, now_ms, device_id)
        stamped.append(msgspec.structs.replace(change, clk=last_clock))
        where = "WHERE account_id = ? AND etype = ? AND eid = ? AND field = ? AND clk = ?"
        key = (account_id, change.etype, change.eid, change.field, change.clk)
        await connection.execute(f"UPDATE cell SET clk = ? {where}", (last_clock, *key))  # noqa: S608  # constant
    await _set_clock(connection, account_id, last_clock)
    return stamped


async def begin_history(connection: Connection, account_id: bytes) -> None:
    """Forget what the server is known to have: its history is another one now (L14)."""
    await connection.execute("UPDATE account SET cursor = 0, epoch = NULL WHERE account_id = ?", (account_id,))
    await connection.execute("UPDATE cell SET seq = 0 WHERE account_id = ?", (account_id,))


async def offer_missing(connection: Connection, account_id: bytes) -> bool:
    """Put every cell that the server has not given out, and that does not wait to be pushed, into the outbox.

    Returns whether the outbox holds anything to push. Clocks stay as they are, so that no order changes.
    """
    query = "SELECT * FROM cell WHERE account_id = ? AND seq = 0"
    missing = [to_change(row) for row in await connection.execute_fetchall(query, (account_id,))]
    held = frozenset(await waiting(connection, account_id))
    await append(connection, account_id, [change for change in missing if change not in held])
    return bool(held or missing)


async def _stamp(connection: Connection, account_id: bytes) -> tuple[bytes, bytes, int]:
    """Return the last clock, the device id, and the time with the server's offset (C4)."""
    row = await account(connection, account_id)
    if row is None:
        raise LookupError("the node does not know this account")
    return row["last_clock"], row["device_id"], clock.now_ms() + row["offset_ms"]


async def _set_clock(connection: Connection, account_id: bytes, last_clock: bytes) -> None:
    await connection.execute("UPDATE account SET last_clock = ? WHERE account_id = ?", (last_clock, account_id))


async def _tail(connection: Connection, account_id: bytes) -> tuple[int, bytes]:
    query = "SELECT dseq, hash FROM own_change WHERE account_id = ? ORDER BY dseq DESC LIMIT 1"
    async with connection.execute(query, (account_id,)) as cursor:
        row = await cursor.fetchone()
    return (row["dseq"], row["hash"]) if row else (0, FIRST_HASH)


async def _merge(connection: Connection, account_id: bytes, change: Change, seq: int) -> None:
    key = (account_id, change.etype, change.eid, change.field)
    query = "SELECT * FROM cell WHERE account_id = ? AND etype = ? AND eid = ? AND field = ?"
    async with connection.execute(query, key) as cursor:
        row = await cursor.fetchone()
    held = to_change(row) if row else None
    if held is not None and not wins(change, held):
        if held == change and seq:
            where = "WHERE account_id = ? AND etype = ? AND eid = ? AND field = ?"
            await connection.execute(f"UPDATE cell SET seq = ? {where}", (seq, *key))  # noqa: S608  # constant
        return
    row_values = (*key, change.scope, change.clk, change.kid, change.value, seq)
    await connection.execute("INSERT OR REPLACE INTO cell VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row_values)
