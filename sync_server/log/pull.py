"""Reading the account's log from a cursor (rules L12, L14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Integer, bindparam, func, select

from shared.change import PulledChange
from shared.errors import Code, DomovoiError
from shared.limits import MAX_PULL_BYTES
from shared.wire import Hello, Pulled
from sync_server import clock
from sync_server.accounts.devices import newest_login
from sync_server.store.prepared import Prepared
from sync_server.store.tables import account, cell

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database, Row


async def pull(database: Database, account_id: bytes, since: int, limit: int, epoch: int | None) -> Pulled:
    """Return up to `limit` changes after `since`, 4 MiB of values at most but at least one change.

    Raises DomovoiError epoch_changed when the cursor is of another history, history_trimmed below the floor.
    """
    return await database.read(lambda connection: _pull(connection, account_id, since, limit, epoch))


async def _pull(connection: Connection, account_id: bytes, since: int, limit: int, epoch: int | None) -> Pulled:
    # The head is read before the rows, so that the cursor never passes a change that is not among them.
    books = await read_books(connection, account_id)
    head = books["head"]
    # A cursor past the head was made by a history that this server has lost.
    if (epoch is not None and epoch != books["epoch"]) or since > head:
        raise DomovoiError(Code.EPOCH_CHANGED, epoch=books["epoch"])
    if 0 < since < books["floor"]:
        raise DomovoiError(Code.HISTORY_TRIMMED, epoch=books["epoch"])
    last = await _last_of_page(connection, account_id, since, head, limit)
    rows = await connection.rows(_CHANGES, account=account_id, since=since, last=last)
    changes = [PulledChange(*row) for row in rows]
    return Pulled(books["epoch"], head, changes, last < head, clock.now_ms())


async def hello(database: Database, account_id: bytes) -> Hello:
    """Return where the account's log stands, and who has logged in last."""
    books = await read_books(database, account_id)
    login_ms = await newest_login(database, account_id)
    return Hello(books["epoch"], books["head"], clock.now_ms(), login_ms=login_ms)


async def read_books(database: Database | Connection, account_id: bytes) -> Row:
    """Return `head`, `floor` and `epoch` of the account. Raises DomovoiError token_invalid when it is gone."""
    columns = account.c
    row = await database.one(select(columns.head, columns.floor, columns.epoch).where(columns.account_id == account_id))
    if row is None:
        raise DomovoiError(Code.TOKEN_INVALID)
    return row


async def _last_of_page(connection: Connection, account_id: bytes, since: int, head: int, limit: int) -> int:
    """Return the sequence number at which the page ends; `head` when it holds all that is left.

    The sizes are read before the values, so that a page of large values never stands in memory whole.
    """
    rows = await connection.rows(_SIZES, account=account_id, since=since, last=head, most=limit + 1)
    total, last = 0, since
    for seq, size in rows[:limit]:
        total += size
        if last > since and total > MAX_PULL_BYTES:
            return last
        last = seq
    return last if len(rows) > limit else head


_IN_PAGE = (cell.c.account_id == bindparam("account"), cell.c.seq > bindparam("since"), cell.c.seq <= bindparam("last"))
_CHANGES = Prepared(
    lambda _: select(*(cell.c[name] for name in PulledChange.__struct_fields__)).where(*_IN_PAGE).order_by(cell.c.seq)
)
_SIZES = Prepared(
    lambda _: (
        select(cell.c.seq, func.length(cell.c.value))
        .where(*_IN_PAGE)
        .order_by(cell.c.seq)
        .limit(bindparam("most", type_=Integer()))
    )
)
