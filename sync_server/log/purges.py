"""The end of conversations (rules L18, L19): what is purged stays so, whoever comes back with old changes.

A purged conversation is remembered for ever, in some sixty bytes. Its tombstone, the one cell that devices still read,
stays only until they all have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, not_, select

from shared.change import ConversationField, EntityType
from shared.limits import TOMBSTONE_KEPT_S
from sync_server import clock
from sync_server.log.books import CELL_OVERHEAD_BYTES, add_bytes, lock_books
from sync_server.store.prepared import Prepared
from sync_server.store.tables import account, cell, device, purge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.change import Change
    from sync_server.store.database import Connection, Database


async def purged_scopes(connection: Connection, account_id: bytes, changes: Iterable[Change]) -> set[bytes]:
    """Return which of the changes' conversations are purged."""
    scopes = {change.scope for change in changes}
    rows = await connection.all(
        select(purge.c.scope).where(purge.c.account_id == account_id, purge.c.scope.in_(scopes))
    )
    return {row["scope"] for row in rows}


async def end_scope(connection: Connection, account_id: bytes, scope: bytes, seq: int) -> int:
    """Remove all of a conversation but its tombstone, which has `seq`; return the space that this frees, in bytes.

    In the transaction of the push that purges it.
    """
    others = and_(cell.c.account_id == account_id, cell.c.scope == scope, not_(_is_tombstone(scope)))
    sizes = await connection.one(
        select(func.count().label("cells"), func.sum(func.length(cell.c.value)).label("size")).where(others)
    )
    await connection.run(delete(cell).where(others))
    fields = {"account_id": account_id, "scope": scope, "seq": seq, "purged_ms": clock.now_ms()}
    await connection.run(purge.insert().values(**fields))
    counted = account.update().where(account.c.account_id == account_id).values(purges=account.c.purges + 1)
    await connection.run(counted)
    return 0 if sizes is None else sizes["cells"] * CELL_OVERHEAD_BYTES + int(sizes["size"] or 0)


async def acknowledge(database: Database, account_id: bytes, device_id: bytes, since: int) -> None:
    """Take note that the device has read the log up to `since`, if that is news to any tombstone."""
    key = {"account": account_id, "device": device_id}
    for (seq,) in await database.read(lambda connection: connection.rows(_LAST_READ, **key, since=since)):
        the_device = (device.c.account_id == account_id) & (device.c.device_id == device_id)
        await database.run(device.update().where(the_device).values(acked_seq=seq))


async def expire_tombstones(database: Database, account_id: bytes) -> int:
    """Take the tombstones out of the log that have done their work, raise the floor, and return how many there were."""
    is_waiting = (purge.c.account_id == account_id) & purge.c.seq.is_not(None)
    if await database.one(select(purge.c.seq).where(is_waiting).limit(1)) is None:
        return 0

    async def expire(connection: Connection) -> int:
        books = await lock_books(connection, account_id)
        before_ms = clock.now_ms() - TOMBSTONE_KEPT_S * 1000
        row = await connection.one(
            select(func.min(device.c.acked_seq).label("acked")).where(
                device.c.account_id == account_id, device.c.revoked_ms.is_(None), device.c.last_seen_ms >= before_ms
            )
        )
        # Where no device is live, none has to read it.
        acked = books["head"] if row is None or row["acked"] is None else row["acked"]
        done = [
            each
            for each in await connection.all(select(purge).where(is_waiting))
            if each["seq"] <= acked or each["purged_ms"] < before_ms
        ]
        freed = 0
        for each in done:
            freed += await _remove_tombstone(connection, account_id, each["scope"])
        if done:
            floor = max(books["floor"], *(each["seq"] for each in done))
            await connection.run(account.update().where(account.c.account_id == account_id).values(floor=floor))
            await add_bytes(connection, account_id, -freed)
        return len(done)

    return await database.transact(expire)


async def _remove_tombstone(connection: Connection, account_id: bytes, scope: bytes) -> int:
    """Return the space that this frees, in bytes."""
    this = (cell.c.account_id == account_id) & _is_tombstone(scope)
    row = await connection.one(select(func.length(cell.c.value).label("size")).where(this))
    await connection.run(delete(cell).where(this))
    is_purge = (purge.c.account_id == account_id) & (purge.c.scope == scope)
    await connection.run(purge.update().where(is_purge).values(seq=None))
    return 0 if row is None else row["size"] + CELL_OVERHEAD_BYTES


def _is_tombstone(scope: bytes) -> ColumnElement[bool]:
    columns = cell.c
    return and_(
        columns.etype == EntityType.CONVERSATION, columns.eid == scope, columns.field == ConversationField.PURGED
    )


# Of every pull, so it is compiled once. The newest tombstone that the device has read and not acknowledged yet.
_ACKED = (device.c.account_id == bindparam("account")) & (device.c.device_id == bindparam("device"))
_LAST_READ = Prepared(
    lambda _: (
        select(purge.c.seq)
        .where(
            purge.c.account_id == bindparam("account"),
            purge.c.seq > select(device.c.acked_seq).where(_ACKED).scalar_subquery(),
            purge.c.seq <= bindparam("since"),
        )
        .order_by(purge.c.seq.desc())
        .limit(1)
    )
)
