"""Taking a device's changes into the account's log (rules L5-L11, L18, L22).

One transaction, in this order: raise `account.head`, which locks the account (a transaction that reads first fails
under MariaDB's snapshot isolation); check the device and its chain; read the touched cells; write the winners in one
statement; keep the books; commit.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, func, select

from shared import clock as hybrid_clock
from shared.canonical import fold_hashes
from shared.change import CellKey, Change, PulledChange, cell_key, is_purge
from shared.errors import Code, DomovoiError
from shared.limits import MAX_CLOCK_AHEAD_MS, MAX_INLINE_NEWS_BYTES
from shared.merge import is_clone, wins
from shared.wire import LogNews, Push, Pushed, Rejected
from sync_server import clock
from sync_server.books import CELL_OVERHEAD_BYTES
from sync_server.leases import holds_lease
from sync_server.purges import end_scope, purged_scopes
from sync_server.tables import account, cell, device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_server.database import Connection, Database, Row

log = logging.getLogger(__name__)

# A full account can still delete, stop and rename: small values may use a tenth more than the quota.
SMALL_VALUE_BYTES = 64


class Outcome(NamedTuple):
    """The answer to a push, and the news for the account's streams if its log moved."""

    pushed: Pushed
    news: LogNews | None


class _Held(NamedTuple):
    """What a cell holds. `change` is read only where the clocks are equal, for values are large."""

    clk: bytes
    size: int
    change: Change | None


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
    the_account = account.c.account_id == account_id
    the_device = (device.c.account_id == account_id) & (device.c.device_id == device_id)
    await connection.run(account.update().where(the_account).values(head=account.c.head + len(batch.changes)))
    books = await connection.one(select(account).where(the_account).with_for_update())
    pusher = await connection.one(select(device).where(the_device).with_for_update())
    if books is None or pusher is None or pusher["revoked_ms"] is not None:
        raise DomovoiError(Code.DEVICE_REVOKED)
    if batch.epoch != books["epoch"]:
        raise DomovoiError(Code.EPOCH_CHANGED, epoch=books["epoch"])
    prev_head = books["head"] - len(batch.changes)
    hashes = _checked_chain(batch, pusher["last_dseq"], pusher["last_hash"])

    first_new = pusher["last_dseq"] + 1
    fresh = batch.changes[first_new - batch.first_dseq :]
    if fresh and batch.if_lease is not None and not await holds_lease(connection, account_id, batch.if_lease):
        raise DomovoiError(Code.LEASE_LOST, acked_dseq=pusher["last_dseq"], server_ms=clock.now_ms())
    held = await _held_cells(connection, account_id, fresh)
    purged = await purged_scopes(connection, account_id, fresh) if books["purges"] else set()
    taken = _take(fresh, first_new, held, purged, prev_head, books)
    pushed = Pushed(taken.last_dseq, taken.head, clock.now_ms(), taken.rejected)
    if taken.last_dseq < first_new:
        if taken.rejected:
            code = Code(taken.rejected[0].code)
            raise DomovoiError(code, acked_dseq=pushed.acked_dseq, server_ms=pushed.server_ms)
        raise _NothingTaken(pushed)

    if taken.winners:
        rows = [_row(account_id, *winner) for winner in taken.winners.values()]
        await connection.run(connection.dialect.upsert(cell, rows))
    bytes_used = taken.bytes_used
    for scope, seq in taken.ended.items():
        bytes_used -= await end_scope(connection, account_id, scope, seq)
    kept = {"head": taken.head, "bytes_used": bytes_used, "purges": books["purges"] + len(taken.ended)}
    await connection.run(account.update().where(the_account).values(**kept))
    last_hash = hashes[taken.last_dseq - batch.first_dseq]
    await connection.run(device.update().where(the_device).values(last_dseq=taken.last_dseq, last_hash=last_hash))
    return Outcome(pushed, _news(books["epoch"], prev_head, taken))


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
    columns = cell.c
    # Some fields too many come along, but two plain IN lists use the primary key on every database.
    rows = await connection.all(
        select(columns.etype, columns.eid, columns.field, columns.clk, func.length(columns.value).label("size")).where(
            columns.account_id == account_id,
            columns.etype.in_({change.etype for change in changes}),
            columns.eid.in_({change.eid for change in changes}),
        )
    )
    clocks = {(cell_key(change), change.clk) for change in changes}
    held = {}
    for row in rows:
        key = (row["etype"], row["eid"], row["field"])
        change = await _whole(connection, account_id, key) if (key, row["clk"]) in clocks else None
        held[key] = _Held(row["clk"], row["size"], change)
    return held


async def _whole(connection: Connection, account_id: bytes, key: CellKey) -> Change | None:
    row = await connection.one(select(cell).where(_is_cell(account_id, key)))
    return None if row is None else Change(*(row[name] for name in Change.__struct_fields__))


def _is_cell(account_id: bytes, key: CellKey) -> ColumnElement[bool]:
    etype, eid, field = key
    columns = cell.c
    return (
        (columns.account_id == account_id) & (columns.etype == etype) & (columns.eid == eid) & (columns.field == field)
    )


def _take(
    changes: Sequence[Change],
    first_dseq: int,
    held: dict[CellKey, _Held],
    purged: set[bytes],
    head: int,
    books: Row,
) -> _Taken:
    """Merge the changes into `held` in order, up to the first that must be refused.

    What is written to a `purged` conversation is acknowledged and dropped (L18).
    """
    bytes_used, quota, now_ms = books["bytes_used"], books["quota_bytes"], clock.now_ms()
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


def _row(account_id: bytes, dseq: int, seq: int, change: Change) -> dict[str, object]:
    fields = {name: getattr(change, name) for name in Change.__struct_fields__}
    return {"account_id": account_id, "dseq": dseq, "seq": seq, **fields}


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
