"""Taking a device's changes into the account's log (rules L5-L11, L18, L22).

One transaction, in this order: raise `account.head`, which locks the account (a transaction that reads first fails
under MariaDB's snapshot isolation); check the device and its chain; read the touched cells; write the winners in one
statement; keep the books; commit.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, select

from shared import clock as hybrid_clock
from shared.canonical import fold_hashes
from shared.change import CellKey, Change, PulledChange, cell_key, is_purge
from shared.errors import Code, DomovoiError
from shared.limits import MAX_CLOCK_AHEAD_MS, MAX_INLINE_NEWS_BYTES
from shared.merge import is_clone, wins
from shared.wire import LogNews, Push, Pushed, Rejected
from sync_server import clock
from sync_server.log.books import CELL_OVERHEAD_BYTES
from sync_server.log.leases import holds_lease
from sync_server.log.purges import end_scope, purged_scopes
from sync_server.log.push_statements import BOOKS, HELD, KEEP_BOOKS, MOVE_DEVICE, RAISE_HEAD, UPSERT
from sync_server.store.prepared import padded, pieces
from sync_server.store.tables import cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_server.store.database import Connection, Database

log = logging.getLogger(__name__)

# A full account can still delete, stop and rename: small values may use a tenth more than the quota.
SMALL_VALUE_BYTES = 64


class Outcome(NamedTuple):
    """The answer to a push, and the news for the account's streams if its log moved."""

    pushed: Pushed
    news: LogNews | None


class _Books(NamedTuple):
    """What account and device hold before the push, but for the head, which is raised already."""

    raised_head: int
    epoch: int
    bytes_used: int
    quota_bytes: int
    purges: int
    last_dseq: int
    last_hash: bytes
    revoked_ms: int | None


class _Held(NamedTuple):
    """What a cell holds. `change` is read only where the clocks are equal, for values are large."""

    clk: bytes
    size: int
    change: Change | None


class _Cells(NamedTuple):
    """What the account holds where a batch writes, and which conversations are over."""

    held: dict[CellKey, _Held]
    purged: set[bytes]


class _Taken(NamedTuple):
    """How far a batch was taken, and what it changed: `winners` by cell, as (dseq, seq, change).

    `ended` are the conversations that it purged, with the seq of each tombstone.
    """

    last_dseq: int
    head: int
    bytes_used: int
    winners: dict[CellKey, tuple[int, int, Change]]
    rejected: list[Rejected]
    ended: dict[bytes, int]


class _NothingTaken(Exception):
    """A replay: the transaction rolls back, so that the head does not move (rule L9)."""

    def __init__(self, pushed: Pushed) -> None:
        self.pushed = pushed


async def push(database: Database, account_id: bytes, device_id: bytes, batch: Push) -> Outcome:
    """Commit a prefix of the batch.

    A change that is refused for itself (clock_ahead, quota_exceeded) ends the prefix and is named in the answer.
    Raises DomovoiError epoch_changed, device_revoked, sequence_gap, device_forked; and, when the first new change
    is refused or the lease is lost, its reason with `acked_dseq` and `server_ms` (rules L10, Q10).
    """
    try:
        return await database.transact(lambda connection: _push(connection, account_id, device_id, batch))
    except _NothingTaken as nothing:
        return Outcome(nothing.pushed, None)


async def _push(connection: Connection, account_id: bytes, device_id: bytes, batch: Push) -> Outcome:
    key = {"account": account_id, "device": device_id}
    await connection.rows(RAISE_HEAD, account=account_id, count=len(batch.changes))
    rows = await connection.rows(BOOKS, **key)
    books = _Books(*rows[0]) if rows else None
    if books is None or books.revoked_ms is not None:
        raise DomovoiError(Code.DEVICE_REVOKED)
    if batch.epoch != books.epoch:
        raise DomovoiError(Code.EPOCH_CHANGED, epoch=books.epoch)
    prev_head = books.raised_head - len(batch.changes)
    hashes = _checked_chain(batch, books.last_dseq, books.last_hash)

    first_new = books.last_dseq + 1
    fresh = batch.changes[first_new - batch.first_dseq :]
    now_ms = clock.now_ms()
    if fresh and batch.if_lease is not None and not await holds_lease(connection, account_id, batch.if_lease):
        raise DomovoiError(Code.LEASE_LOST, acked_dseq=books.last_dseq, server_ms=now_ms)
    purged = await purged_scopes(connection, account_id, batch.changes) if books.purges else set()
    held = _Cells(await _held_cells(connection, account_id, fresh), purged)
    taken = _take(fresh, first_new, held, prev_head, books, now_ms)
    pushed = Pushed(taken.last_dseq, taken.head, now_ms, taken.rejected, sorted(purged), prev_head)
    if taken.last_dseq < first_new:
        if taken.rejected:
            code = Code(taken.rejected[0].code)
            raise DomovoiError(code, acked_dseq=pushed.acked_dseq, server_ms=pushed.server_ms)
        raise _NothingTaken(pushed)

    await _write(connection, account_id, list(taken.winners.values()))
    bytes_used = taken.bytes_used
    for scope, seq in taken.ended.items():
        bytes_used -= await end_scope(connection, account_id, scope, seq)
    await connection.rows(KEEP_BOOKS, account=account_id, new_head=taken.head, new_bytes_used=bytes_used)
    last_hash = hashes[taken.last_dseq - batch.first_dseq]
    await connection.rows(MOVE_DEVICE, **key, new_dseq=taken.last_dseq, new_hash=last_hash, seen_ms=now_ms)
    return Outcome(pushed, _news(books.epoch, prev_head, taken))


def _checked_chain(batch: Push, last_dseq: int, last_hash: bytes) -> list[bytes]:
    """Return the chain's value after each change, if it passes through what the server has (rule L8)."""
    if batch.first_dseq > last_dseq + 1:
        raise DomovoiError(Code.SEQUENCE_GAP, last_dseq=last_dseq)
    chain = [batch.prev_hash, *fold_hashes(batch.prev_hash, batch.first_dseq, batch.changes)]
    at_last = last_dseq - batch.first_dseq + 1
    if at_last >= len(chain) or chain[at_last] != last_hash:
        raise DomovoiError(Code.DEVICE_FORKED, last_dseq=last_dseq)
    return chain[1:]


async def _held_cells(connection: Connection, account_id: bytes, changes: Sequence[Change]) -> dict[CellKey, _Held]:
    if not changes:
        return {}
    # Some fields too many come along, but two plain IN lists use the primary key on every database.
    etypes = padded(list({change.etype for change in changes}))
    eids = padded(list({change.eid for change in changes}))
    values = _numbered("etype", etypes) | _numbered("eid", eids)
    rows = await connection.rows(HELD, len(etypes), len(eids), account=account_id, **values)
    clocks = {(cell_key(change), change.clk) for change in changes}
    held = {}
    for *key_parts, clk, size in rows:
        key: CellKey = (key_parts[0], key_parts[1], key_parts[2])
        change = await _whole(connection, account_id, key) if (key, clk) in clocks else None
        held[key] = _Held(clk, size, change)
    return held


async def _write(connection: Connection, account_id: bytes, winners: Sequence[tuple[int, int, Change]]) -> None:
    for piece in pieces(len(winners)):
        values: dict[str, object] = {"account": account_id}
        for index, (dseq, seq, change) in enumerate(winners[piece]):
            values[f"dseq_{index}"], values[f"seq_{index}"] = dseq, seq
            values |= {f"{name}_{index}": getattr(change, name) for name in Change.__struct_fields__}
        await connection.rows(UPSERT, len(winners[piece]), **values)


async def _whole(connection: Connection, account_id: bytes, key: CellKey) -> Change | None:
    row = await connection.one(select(cell).where(_is_cell(account_id, key)))
    return None if row is None else Change(*(row[name] for name in Change.__struct_fields__))


def _is_cell(account_id: bytes, key: CellKey) -> ColumnElement[bool]:
    etype, eid, field = key
    columns = cell.c
    return (
        (columns.account_id == account_id) & (columns.etype == etype) & (columns.eid == eid) & (columns.field == field)
    )


def _take(changes: Sequence[Change], first_dseq: int, cells: _Cells, head: int, books: _Books, now_ms: int) -> _Taken:
    """Merge the changes into `cells` in order, up to the first that must be refused.

    What is written to a purged conversation is acknowledged and dropped (L18).
    """
    held, purged = cells
    bytes_used, quota = books.bytes_used, books.quota_bytes
    winners: dict[CellKey, tuple[int, int, Change]] = {}
    ended: dict[bytes, int] = {}
    dseq = first_dseq - 1
    for change in changes:
        key = cell_key(change)
        holder = held.get(key)
        won = change.scope not in purged and _wins(change, holder)
        growth = _cost(len(change.value)) - (_cost(holder.size) if holder else 0) if won else 0
        code = _refusal(change, bytes_used + growth, quota, growth, now_ms)
        if code is not None:
            return _Taken(dseq, head, bytes_used, winners, [Rejected(dseq + 1, code)], ended)
        dseq += 1
        if won:
            head += 1
            bytes_used += growth
            held[key] = _Held(change.clk, len(change.value), change)
            winners[key] = (dseq, head, change)
            if is_purge(change):
                purged.add(change.scope)
                ended[change.scope] = head
    return _Taken(dseq, head, bytes_used, winners, [], ended)


def _wins(change: Change, holder: _Held | None) -> bool:
    if holder is None or change.clk != holder.clk:
        return holder is None or change.clk > holder.clk
    if holder.change is not None and is_clone(change, holder.change):
        log.warning("two changes share the clock %s: a device was cloned", change.clk.hex())
    return wins(change, holder.change)


def _refusal(change: Change, bytes_used: int, quota: int, growth: int, now_ms: int) -> Code | None:
    if hybrid_clock.milliseconds(change.clk) > now_ms + MAX_CLOCK_AHEAD_MS:
        return Code.CLOCK_AHEAD
    if is_purge(change):
        # It makes room.
        return None
    allowed = quota + quota // 10 if len(change.value) <= SMALL_VALUE_BYTES else quota
    return Code.QUOTA_EXCEEDED if growth > 0 and bytes_used > allowed else None


def _cost(value_bytes: int) -> int:
    return value_bytes + CELL_OVERHEAD_BYTES


def _news(epoch: int, prev_head: int, taken: _Taken) -> LogNews | None:
    if taken.head == prev_head:
        return None
    winners = sorted(taken.winners.values(), key=lambda winner: winner[1])
    size = sum(_cost(len(change.value)) for _, _, change in winners)
    if size > MAX_INLINE_NEWS_BYTES:
        return LogNews(epoch, prev_head, taken.head)
    changes = [
        PulledChange(**{name: getattr(change, name) for name in Change.__struct_fields__}, seq=seq)
        for _, seq, change in winners
    ]
    return LogNews(epoch, prev_head, taken.head, changes)


def _numbered(name: str, values: Sequence[object]) -> dict[str, object]:
    return {f"{name}_{index}": value for index, value in enumerate(values)}
