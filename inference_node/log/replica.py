"""A copy of an account's log: cells, cursor, and changes of its own that wait to be pushed (rules C, L).

The one way in which a node, `domovoi export` and `domovoi import` hold an account. Every function works inside a
transaction of the caller, so that what belongs together is committed together (L15); `exchange.py` moves the log.

A cell's `seq` says where the server gave it out: 0 while it has not, STALE while a log that is read anew has not yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from inference_node import clock
from inference_node.log import own_log
from inference_node.log.own_log import Own
from shared import clock as hybrid_clock
from shared import values
from shared.change import Change, ConversationField, EntityType, PulledChange, cell_key, is_purge
from shared.digest import digest
from shared.limits import MAX_CLOCK_AHEAD_MS
from shared.merge import wins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from aiosqlite import Connection, Row

    from shared.change import CellKey
    from shared.wire import IfLease

STALE = -1

# SQLite takes 32,766 parameters in a statement, older ones 999.
KEYS_AT_ONCE = 300

_OF_CELL = "account_id = ? AND etype = ? AND eid = ? AND field = ?"


class _Held(NamedTuple):
    change: Change
    seq: int


class Write(NamedTuple):
    """A field that this device writes; `value` is not encoded yet."""

    etype: int
    eid: bytes
    field: int
    scope: bytes
    value: object


async def account(connection: Connection, account_id: bytes) -> Row | None:
    """Return the account's row, or None when it was never served here."""
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
        changes = await restamp(connection, account_id, await own_log.waiting(connection, account_id))
        await own_log.replace_after(connection, account_id, 0, changes)


async def write(
    connection: Connection, account_id: bytes, writes: Sequence[Write], lease: IfLease | None = None
) -> list[Change]:
    """Make changes of this device's own: stamped, merged into the cells, and put into the outbox.

    Under a lease, they count only while it is ours (Q10). Raises LookupError for an account that is not known here.
    """
    changes = []
    last_clock, device_id, now_ms = await _stamp(connection, account_id)
    for field in writes:
        last_clock = hybrid_clock.tick(last_clock, now_ms, device_id)
        changes.append(Change(last_clock, *field[:4], 0, values.encode(field.value)))
    await _set_clock(connection, account_id, last_clock)
    await own_log.append(connection, account_id, [Own(change, lease) for change in changes])
    await _merge(connection, account_id, [(change, 0) for change in changes])
    return changes


async def offer(connection: Connection, account_id: bytes, changes: Iterable[Change]) -> int:
    """Take in changes that others made, with their clocks, and put those that win into the outbox; return how many."""
    won = await _merge(connection, account_id, [(change, 0) for change in changes])
    await own_log.append(connection, account_id, [Own(change, is_offer=True) for change in won])
    return len(won)


async def apply_pulled(connection: Connection, account_id: bytes, changes: Sequence[PulledChange]) -> None:
    """Merge changes from the server and move the clock past them (C2, C5)."""
    last_clock, _, now_ms = await _stamp(connection, account_id)
    for pulled in changes:
        last_clock = hybrid_clock.observe(last_clock, pulled.clk, now_ms, MAX_CLOCK_AHEAD_MS)
    await _merge(connection, account_id, [(_plain(pulled), pulled.seq) for pulled in changes])
    await _set_clock(connection, account_id, last_clock)


async def cells(connection: Connection, account_id: bytes) -> AsyncIterator[Change]:
    """Yield all cells, in the order of their keys."""
    query = "SELECT * FROM cell WHERE account_id = ? ORDER BY etype, eid, field"
    async with connection.execute(query, (account_id,)) as rows:
        async for row in rows:
            yield to_change(row)


async def values_of(connection: Connection, account_id: bytes, etype: int, field: int) -> list[bytes]:
    """Return the values of one field of all entities of one type, encoded."""
    query = "SELECT value FROM cell WHERE account_id = ? AND etype = ? AND field = ?"
    return [row["value"] for row in await connection.execute_fetchall(query, (account_id, etype, field))]


async def cells_of_scope(connection: Connection, account_id: bytes, scope: bytes) -> list[Change]:
    """Return the cells of a conversation."""
    query = "SELECT * FROM cell WHERE account_id = ? AND scope = ?"
    return [to_change(row) for row in await connection.execute_fetchall(query, (account_id, scope))]


def to_change(row: Row) -> Change:
    """Return a cell's row as the change that it holds."""
    return Change(*(row[name] for name in Change.__struct_fields__))


async def restamp(connection: Connection, account_id: bytes, owned: Iterable[Own]) -> list[Own]:
    """Return the changes with new clocks of this device, replacing theirs in the cells where they still stand.

    Offers keep theirs: with a new one they would win over what was written after them. Only a clock that the server
    would refuse (its own was set back) is replaced all the same.
    """
    _, device_id, now_ms = await _stamp(connection, account_id)
    # The new clocks follow what the server has, not the clock that was too far ahead for it.
    query = "SELECT max(clk) AS clk FROM cell WHERE account_id = ? AND seq > 0"
    async with connection.execute(query, (account_id,)) as cursor:
        row = await cursor.fetchone()
    last_clock = row["clk"] if row and row["clk"] else hybrid_clock.ZERO
    stamped = []
    for change, lease, is_offer in owned:
        if is_offer and hybrid_clock.milliseconds(change.clk) <= now_ms + MAX_CLOCK_AHEAD_MS:
            stamped.append(Own(change, lease, is_offer))
            continue
        last_clock = hybrid_clock.tick(last_clock, now_ms, device_id)
        stamped.append(Own(msgspec.structs.replace(change, clk=last_clock), lease))
        key = (account_id, change.etype, change.eid, change.field, change.clk)
        query = f"UPDATE cell SET clk = ? WHERE {_OF_CELL} AND clk = ?"  # noqa: S608  # constant
        await connection.execute(query, (last_clock, *key))
    # One that had lost wins with its new clock, here as on the server: a restored backup may lack it before it is read.
    await _merge(connection, account_id, [(own.change, 0) for own in stamped if not own.is_offer])
    await _set_clock(connection, account_id, last_clock)
    return stamped


async def begin_history(connection: Connection, account_id: bytes) -> None:
    """Forget what the server is known to have: its history is another one now (L21)."""
    await connection.execute("UPDATE account SET cursor = 0, epoch = NULL WHERE account_id = ?", (account_id,))
    await connection.execute("UPDATE cell SET seq = 0 WHERE account_id = ?", (account_id,))


async def begin_anew(connection: Connection, account_id: bytes) -> None:
    """Read the same history from the beginning: the cursor is below its floor (L19), or there is a gap (L20)."""
    await connection.execute("UPDATE account SET cursor = 0 WHERE account_id = ?", (account_id,))
    # Tombstones stay: the server lets go of them, and what they say is true for ever.
    query = "UPDATE cell SET seq = ? WHERE account_id = ? AND seq > 0 AND NOT (etype = ? AND field = ?)"
    await connection.execute(query, (STALE, account_id, EntityType.CONVERSATION, ConversationField.PURGED))


async def end_reading(connection: Connection, account_id: bytes, epoch: int, head: int) -> None:
    """Take note that all the server had at `head` is here: what it had once and has no more is dropped (L19).

    What it has not given out is to be offered: it was lost with a backup, or acknowledged and purged before it was
    read, which the answer to the offer will say.
    """
    await connection.execute("DELETE FROM cell WHERE account_id = ? AND seq = ?", (account_id, STALE))
    query = "UPDATE account SET cursor = ?, epoch = ?, must_offer = 1 WHERE account_id = ?"
    await connection.execute(query, (head, epoch, account_id))


async def offer_missing(connection: Connection, account_id: bytes) -> bool:
    """Once after all was read, put what the server has not given out into the outbox, unless it waits there already.

    Returns whether there was anything to do. Clocks stay as they are, so that no order changes.
    """
    row = await account(connection, account_id)
    if row is None or not row["must_offer"]:
        return False
    await connection.execute("UPDATE account SET must_offer = 0 WHERE account_id = ?", (account_id,))
    query = "SELECT * FROM cell WHERE account_id = ? AND seq = 0"
    missing = [to_change(row) for row in await connection.execute_fetchall(query, (account_id,))]
    held = frozenset(own.change for own in await own_log.waiting(connection, account_id))
    await own_log.append(
        connection, account_id, [Own(change, is_offer=True) for change in missing if change not in held]
    )
    return bool(missing or held)


async def drop_scopes(connection: Connection, account_id: bytes, scopes: Iterable[bytes]) -> None:
    """Remove what is held of conversations that are purged, but for their tombstones (L18)."""
    for scope in scopes:
        query = "DELETE FROM cell WHERE account_id = ? AND scope = ? AND NOT (etype = ? AND eid = ? AND field = ?)"
        await connection.execute(query, (account_id, scope, *_tombstone(scope)))


async def take_back(connection: Connection, account_id: bytes, acked_dseq: int, lease: IfLease) -> None:
    """Take what was written under a lost lease out of outbox and cells (Q10)."""
    kept: list[Own] = []
    lost: list[Own] = []
    for own in await own_log.waiting(connection, account_id):
        (lost if own.lease == lease else kept).append(own)
    await own_log.replace_after(connection, account_id, acked_dseq, kept)
    for change, _, _ in lost:
        key = (account_id, change.etype, change.eid, change.field, change.clk)
        await connection.execute(f"DELETE FROM cell WHERE {_OF_CELL} AND clk = ?", key)  # noqa: S608  # constant


async def digest_of(connection: Connection, account_id: bytes) -> tuple[int, bytes]:
    """Return the digest of what the server gave out (L20)."""
    query = "SELECT clk, etype, eid, field FROM cell WHERE account_id = ? AND seq > 0"
    rows = await connection.execute_fetchall(query, (account_id,))
    return digest((row["clk"], row["etype"], row["eid"], row["field"]) for row in rows)


async def _stamp(connection: Connection, account_id: bytes) -> tuple[bytes, bytes, int]:
    """Return the last clock, the device id, and the time with the server's offset (C4)."""
    row = await account(connection, account_id)
    if row is None:
        raise LookupError("this account is not known here")
    return row["last_clock"], row["device_id"], clock.now_ms() + row["offset_ms"]


async def _set_clock(connection: Connection, account_id: bytes, last_clock: bytes) -> None:
    await connection.execute("UPDATE account SET last_clock = ? WHERE account_id = ?", (last_clock, account_id))


async def _purged(connection: Connection, account_id: bytes) -> set[bytes]:
    """Return the conversations that are purged here."""
    query = "SELECT eid FROM cell WHERE account_id = ? AND etype = ? AND field = ? AND scope = eid"
    key = (account_id, EntityType.CONVERSATION, ConversationField.PURGED)
    return {row["eid"] for row in await connection.execute_fetchall(query, key)}


class _Cells:
    """Cells of a page while it is merged: what the database holds of them, and what it is to hold."""

    def __init__(self, held: dict[CellKey, _Held], purged: set[bytes]) -> None:
        self.held = held
        self.purged = purged
        self.dropped: set[bytes] = set()
        self.written: dict[CellKey, _Held] = {}
        self.known: dict[CellKey, int] = {}

    def merge(self, change: Change, seq: int) -> bool:
        """Merge one change; return whether it won."""
        key = cell_key(change)
        if is_purge(change):
            self._purge(change.scope)
        elif change.scope in self.purged:
            return False
        held = self.held.get(key)
        if held is not None and not wins(change, held.change):
            if seq and (held.change == change or held.seq == STALE):
                # What the server gave out once and has older now, it has lost: it is offered again.
                self._note(key, held.change, seq if held.change == change else 0)
            return False
        self.held[key] = self.written[key] = _Held(change, seq)
        self.known.pop(key, None)
        return True

    def _note(self, key: CellKey, change: Change, seq: int) -> None:
        self.held[key] = _Held(change, seq)
        if key in self.written:
            self.written[key] = self.held[key]
        else:
            self.known[key] = seq

    def _purge(self, scope: bytes) -> None:
        self.purged.add(scope)
        self.dropped.add(scope)
        tombstone = _tombstone(scope)
        self.written = {
            key: held for key, held in self.written.items() if held.change.scope != scope or key == tombstone
        }


async def _merge(connection: Connection, account_id: bytes, changes: Sequence[tuple[Change, int]]) -> list[Change]:
    """Merge changes into their cells, each with its `seq`, and return those that won.

    A page is read, merged and written with a handful of statements: each of them crosses to SQLite's own thread.
    """
    cells = _Cells(await _held(connection, account_id, changes), await _purged(connection, account_id))
    won = [change for change, seq in changes if cells.merge(change, seq)]
    await drop_scopes(connection, account_id, cells.dropped)
    await connection.executemany(
        "INSERT OR REPLACE INTO cell VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (account_id, *key, change.scope, change.clk, change.kid, change.value, seq)
            for key, (change, seq) in cells.written.items()
        ],
    )
    await connection.executemany(
        f"UPDATE cell SET seq = ? WHERE {_OF_CELL}",  # noqa: S608  # constant
        [(seq, account_id, *key) for key, seq in cells.known.items()],
    )
    return won


async def _held(
    connection: Connection, account_id: bytes, changes: Sequence[tuple[Change, int]]
) -> dict[CellKey, _Held]:
    """Return what the database holds of the changes' cells."""
    keys = sorted({cell_key(change) for change, _ in changes})
    held = {}
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = keys[start : start + KEYS_AT_ONCE]
        query = (
            f"WITH wanted (etype, eid, field) AS (VALUES {', '.join(['(?, ?, ?)'] * len(some))}) "  # noqa: S608
            "SELECT cell.* FROM wanted CROSS JOIN cell ON cell.account_id = ? AND cell.etype = wanted.etype "
            "AND cell.eid = wanted.eid AND cell.field = wanted.field"
        )
        parameters = [part for key in some for part in key]
        for row in await connection.execute_fetchall(query, (*parameters, account_id)):
            held[row["etype"], row["eid"], row["field"]] = _Held(to_change(row), row["seq"])
    return held


def _plain(pulled: PulledChange) -> Change:
    return Change(*(getattr(pulled, name) for name in Change.__struct_fields__))


def _tombstone(scope: bytes) -> CellKey:
    return (int(EntityType.CONVERSATION), scope, int(ConversationField.PURGED))
