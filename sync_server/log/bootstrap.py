"""The account's state for a device that has none of it yet, a page at a time (rule L16).

Pages come in the order of keys, never in that of the log, so a page is a range of an index however much was
overwritten: conversations and settings first, newest first, and then what the conversations hold, newest first. What
is written meanwhile has a `seq` above the head that the first page noted, and is pulled afterwards.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec
from msgspec import Struct
from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    true,
)

from shared.change import U16, U32, EntityId, EntityType, PulledChange
from shared.change import Sequence as SequenceNumber
from shared.errors import Code, DomovoiError
from shared.limits import MAX_PULL_BYTES
from shared.wire import Bootstrapped
from sync_server import clock
from sync_server.log.pull import read_books
from sync_server.log.segments import segments_of
from sync_server.store.prepared import Prepared
from sync_server.store.tables import cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.segments import Cell
    from sync_server.store.database import Connection, Database

# What a list of conversations is drawn from, whatever else there is.
LISTED = (EntityType.SETTING, EntityType.CONVERSATION)
# As text of the statement, which is prepared.
_LISTED: list[ColumnElement[int]] = [literal_column(str(kind.value)) for kind in LISTED]
_SIZE = func.length(cell.c.value)
# A token is some 60 bytes; what is longer is none.
MAX_TOKEN_CHARACTERS = 256


class _Position(Struct, array_like=True, frozen=True):
    """After which cell the next page begins, and which history and head the first page saw."""

    epoch: U32
    head: SequenceNumber
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
    _Part(True, ("etype", "eid", "field"), cell.c.etype.in_(_LISTED)),
    _Part(False, ("scope", "etype", "eid", "field"), cell.c.etype.not_in(_LISTED)),
)
# One conversation has no list, and in two parts its messages would have to be sorted.
_OF_SCOPE = (_Part(False, ("etype", "eid", "field"), true()),)


class _Page(NamedTuple):
    """What was read, and after which cell the next page begins, or None after the last one."""

    epoch: int
    head: int
    cells: list[Cell]
    next: _Position | None


async def bootstrap(
    database: Database, account_id: bytes, after: str | None, limit: int, scope: bytes | None = None
) -> Bootstrapped:
    """Return up to `limit` cells after the page that gave `after`, 4 MiB of values at most but at least one cell.

    With `scope`, the cells of that conversation alone. Raises DomovoiError bad_request for a token that is none,
    epoch_changed for one of another history.
    """
    page = await _read(database, account_id, after, limit, scope)
    return _answer(page, [PulledChange(*row) for row in page.cells])


async def bootstrap_packed(database: Database, account_id: bytes, after: str | None, limit: int) -> Bootstrapped:
    """Return the same with what conversations hold in segments (rule L23)."""
    page = await _read(database, account_id, after, limit, None)
    is_list = page.cells != [] and page.cells[0][1] in LISTED
    return _answer(page, [PulledChange(*row) for row in page.cells]) if is_list else _answer(page, [], page.cells)


def _answer(page: _Page, changes: list[PulledChange], packed: Sequence[Cell] = ()) -> Bootstrapped:
    after = None if page.next is None else _token(page.next)
    return Bootstrapped(page.epoch, page.head, changes, after, clock.now_ms(), segments_of(packed))


async def _read(database: Database, account_id: bytes, after: str | None, limit: int, scope: bytes | None) -> _Page:
    position = None if after is None else _read_token(after)
    return await database.read(lambda connection: _read_page(connection, account_id, position, limit, scope))


async def _read_page(
    connection: Connection, account_id: bytes, position: _Position | None, limit: int, scope: bytes | None
) -> _Page:
    # The head is read before the cells: what changes later is above it.
    books = await read_books(connection, account_id)
    if position is not None and position.epoch != books["epoch"]:
        raise DomovoiError(Code.EPOCH_CHANGED, epoch=books["epoch"])
    head = books["head"] if position is None else position.head
    cells: list[Cell] = []
    budget = MAX_PULL_BYTES
    for part in _PARTS if scope is None else _OF_SCOPE:
        if position is not None and position.is_listed < part.is_listed:
            continue
        query = _Query(part, position if position and position.is_listed == part.is_listed else None, account_id, scope)
        page, budget, is_cut = await _part(connection, query, limit - len(cells), budget, is_first=not cells)
        cells += page
        # The list of conversations is a page of its own: a device shows it while the rest is on its way.
        if is_cut or (part.is_listed and cells):
            # A page that could take nothing more of this part goes on where the last one ended.
            last = PulledChange(*cells[-1])
            is_listed = scope is None and last.etype in LISTED
            after = _Position(books["epoch"], head, is_listed, last.scope, last.etype, last.eid, last.field)
            return _Page(books["epoch"], head, cells, after)
    return _Page(books["epoch"], head, cells, None)


class _Query:
    """The cells of a part of an account or of one of its conversations, from its end or from a position on."""

    def __init__(self, part: _Part, after: _Position | None, account_id: bytes, scope: bytes | None) -> None:
        self._statements = _statements(part, after is not None, scope is not None)
        self._values: dict[str, object] = {"account": account_id, "of_scope": scope}
        if after is not None:
            self._values |= {f"after_{name}": getattr(after, name) for name in part.names}

    async def total(self, connection: Connection, limit: int) -> tuple[int, int]:
        """Return how many of the first `limit` cells there are, and the bytes of their values."""
        rows = await connection.rows(self._statements.total, **self._values, most=limit)
        return rows[0][0], int(rows[0][1] or 0)

    async def sizes(self, connection: Connection, limit: int) -> Sequence[tuple[int]]:
        return cast("Sequence[tuple[int]]", await connection.rows(self._statements.sizes, **self._values, most=limit))

    async def cells(self, connection: Connection, limit: int) -> Sequence[Cell]:
        return cast("Sequence[Cell]", await connection.rows(self._statements.cells, **self._values, most=limit))


async def _part(
    connection: Connection, query: _Query, limit: int, budget: int, *, is_first: bool
) -> tuple[Sequence[Cell], int, bool]:
    """Return the cells that fit, what is left of the bytes, and whether there are more.

    Sizes are read before values, so that a page of large values never stands in memory whole; one by one only where
    not all fit.
    """
    count, total = await query.total(connection, limit + 1)
    if total <= budget:
        fitting = min(count, limit)
        return (await query.cells(connection, fitting) if fitting else []), budget - total, fitting < count
    sizes = await query.sizes(connection, limit + 1)
    fitting = 0
    for (size,) in sizes[:limit]:
        if size > budget and not (is_first and fitting == 0):
            break
        budget -= size
        fitting += 1
    return (await query.cells(connection, fitting) if fitting else []), budget, fitting < len(sizes)


class _Statements(NamedTuple):
    total: Prepared
    sizes: Prepared
    cells: Prepared


@cache
def _statements(part: _Part, is_after: bool, is_of_scope: bool) -> _Statements:
    columns = [cell.c[name] for name in part.names]
    conditions = [cell.c.account_id == bindparam("account"), part.condition]
    if is_of_scope:
        conditions.append(cell.c.scope == bindparam("of_scope"))
    if is_after:
        values: list[BindParameter[object]] = [bindparam(f"after_{name}") for name in part.names]
        # Of the comparison alone SQLite takes nothing as the beginning of a range.
        conditions += [_below(columns, values), columns[0] <= values[0]]
    query = (
        select(*(cell.c[name] for name in PulledChange.__struct_fields__))
        .where(*conditions)
        .order_by(*(column.desc() for column in columns))
        .limit(bindparam("most", type_=Integer()))
    )
    sizes = query.with_only_columns(_SIZE.label("size"))
    listed = sizes.subquery()
    total = select(func.count(), func.sum(listed.c.size)).select_from(listed)
    return _Statements(Prepared(lambda _: total), Prepared(lambda _: sizes), Prepared(lambda _: query))


def _below(columns: list[Column[object]], values: list[BindParameter[object]]) -> ColumnElement[bool]:
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
