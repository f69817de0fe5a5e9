"""The account's state for a device that has none of it yet, a page at a time (rule L16).

Pages come in the order of keys, never in that of the log, so a page is a range of an index however much was
overwritten: conversations and settings first, newest first, and then what the conversations hold, newest first. What
is written meanwhile has a `seq` above the head that the first page noted, and is pulled afterwards.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Select, and_, func, or_, select, true

from shared.change import U16, U32, EntityId, EntityType, PulledChange, Sequence
from shared.errors import Code, DomovoiError
from shared.limits import MAX_PULL_BYTES
from shared.wire import Bootstrapped
from sync_server import clock
from sync_server.log.pull import read_books
from sync_server.store.prepared import Prepared
from sync_server.store.tables import cell

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database

# What a list of conversations is drawn from, whatever else there is.
LISTED = (EntityType.SETTING, EntityType.CONVERSATION)
_SIZE = func.length(cell.c.value)
# A token is some 60 bytes; what is longer is none.
MAX_TOKEN_CHARACTERS = 256


class _Position(Struct, array_like=True, frozen=True):
    """After which cell the next page begins, and which history and head the first page saw."""

    epoch: U32
    head: Sequence
    is_listed: bool
    scope: EntityId
    etype: U16
    eid: EntityId
    field: U16


class _Part(NamedTuple):
    """A part of the cells in the order of an index, from its end: `names` are the index's columns after the account."""

    is_listed: bool
    names: tuple[str, ...]
    condition: ColumnElement[bool]


_PARTS = (
    _Part(True, ("etype", "eid", "field"), cell.c.etype.in_(LISTED)),
    _Part(False, ("scope", "etype", "eid", "field"), cell.c.etype.not_in(LISTED)),
)
# One conversation has no list, and in two parts its messages would have to be sorted.
_OF_SCOPE = (_Part(False, ("etype", "eid", "field"), true()),)


async def bootstrap(
    database: Database, account_id: bytes, after: str | None, limit: int, scope: bytes | None = None
) -> Bootstrapped:
    """Return up to `limit` cells after the page that gave `after`, 4 MiB of values at most but at least one cell.

    With `scope`, the cells of that conversation alone. Raises DomovoiError bad_request for a token that is none,
    epoch_changed for one of another history.
    """
    position = None if after is None else _read_token(after)
    return await database.read(lambda connection: _bootstrap(connection, account_id, position, limit, scope))


async def _bootstrap(
    connection: Connection, account_id: bytes, position: _Position | None, limit: int, scope: bytes | None
) -> Bootstrapped:
    # The head is read before the cells: what changes later is above it.
    books = await read_books(connection, account_id)
    if position is not None and position.epoch != books["epoch"]:
        raise DomovoiError(Code.EPOCH_CHANGED, epoch=books["epoch"])
    head = books["head"] if position is None else position.head
    of_account = cell.c.account_id == account_id
    within = of_account if scope is None else and_(of_account, cell.c.scope == scope)
    rows: list[PulledChange] = []
    budget = MAX_PULL_BYTES
    next_position: _Position | None = None
    for part in _PARTS if scope is None else _OF_SCOPE:
        if position is not None and position.is_listed < part.is_listed:
            continue
        query = _ordered(part, within, position if position and position.is_listed == part.is_listed else None)
        page, budget, is_cut = await _page(connection, query, limit - len(rows), budget, is_first=not rows)
        rows += page
        # The list of conversations is a page of its own: a device shows it while the rest is on its way.
        if is_cut or (part.is_listed and rows):
            # A page that could take nothing more of this part goes on where the last one ended.
            last = rows[-1]
            is_listed = scope is None and last.etype in LISTED
            next_position = _Position(books["epoch"], head, is_listed, last.scope, last.etype, last.eid, last.field)
            break
    return Bootstrapped(
        books["epoch"], head, rows, None if next_position is None else _token(next_position), clock.now_ms()
    )


async def _page(
    connection: Connection, query: Select[tuple[object, ...]], limit: int, budget: int, *, is_first: bool
) -> tuple[list[PulledChange], int, bool]:
    """Return the cells that fit, what is left of the bytes, and whether there are more.

    Sizes are read before values, so that a page of large values never stands in memory whole.
    """
    sizes = await connection.rows(Prepared(lambda _: query.with_only_columns(_SIZE).limit(limit + 1)))
    count = 0
    for (size,) in sizes[:limit]:
        if size > budget and not (is_first and count == 0):
            break
        budget -= size
        count += 1
    is_cut = count < len(sizes)
    rows = await connection.rows(Prepared(lambda _: query.limit(count))) if count else []
    return [PulledChange(*row) for row in rows], budget, is_cut


def _ordered(part: _Part, within: ColumnElement[bool], after: _Position | None) -> Select[tuple[object, ...]]:
    columns = [cell.c[name] for name in part.names]
    query = select(*(cell.c[name] for name in PulledChange.__struct_fields__)).where(within, part.condition)
    if after is not None:
        query = query.where(_below(columns, [getattr(after, name) for name in part.names]))
    return query.order_by(*(column.desc() for column in columns))


def _below(columns: list[Column[object]], values: list[object]) -> ColumnElement[bool]:
    """Compare tuples in a way that every optimiser takes for a range of the index; row values are not everywhere."""
    *before, last = zip(columns, values, strict=True)
    condition: ColumnElement[bool] = last[0] < last[1]
    for column, value in reversed(before):
        condition = or_(column < value, and_(column == value, condition))
    return condition


def _token(position: _Position) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode(position)).decode()


def _read_token(text: str) -> _Position:
    try:
        if len(text) > MAX_TOKEN_CHARACTERS:
            raise ValueError("too long")
        return msgspec.msgpack.decode(urlsafe_b64decode(text), type=_Position)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise DomovoiError(Code.BAD_REQUEST, "after is not from an earlier page. Begin without it.") from error
