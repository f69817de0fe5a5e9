"""The one door to the database: statements, retried transactions, and errors of our own."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import databases
from sqlalchemy import text

from shared.errors import Code, DomovoiError
from sync_server.store.connections import Connections
from sync_server.store.prepared import Prepared

if TYPE_CHECKING:
    from databases.core import Connection as DriverConnection
    from sqlalchemy.sql import ClauseElement

    from sync_server.store.dialect import Dialect

Row = Mapping[str, Any]
_T = TypeVar("_T")

log = logging.getLogger(__name__)
# Its debug lines carry every value, and values are what people wrote.
logging.getLogger("databases").setLevel(logging.WARNING)

# A database that neither answers nor refuses counts as unreachable after this long.
ANSWER_WITHIN_S = 20.0
CLOSE_WITHIN_S = 5.0
TRIES = 8
FIRST_PAUSE_S = 0.01

_BEGIN = Prepared(lambda dialect: text(dialect.begin))
_COMMIT = Prepared(lambda _: text("COMMIT"))
_ROLLBACK = Prepared(lambda _: text("ROLLBACK"))


class DuplicateKey(Exception):
    """A row with that key exists already."""


class _Conflict(Exception):
    """Another transaction was in the way; nothing was written."""


class Connection:
    """Statements on one connection.

    Each raises DuplicateKey, or DomovoiError database_unavailable. What `execute` of the drivers returns is
    never handed on: on both databases it is wrong in some case.
    """

    def __init__(self, connection: DriverConnection, dialect: Dialect) -> None:
        self._connection = connection
        self.dialect = dialect

    async def all(self, statement: ClauseElement) -> Sequence[Row]:
        """Return all rows."""
        with _translated(self.dialect):
            return cast("Sequence[Row]", await self._connection.fetch_all(statement))

    async def one(self, statement: ClauseElement) -> Row | None:
        """Return the first row, or None."""
        with _translated(self.dialect):
            return cast("Row | None", await self._connection.fetch_one(statement))

    async def run(self, statement: ClauseElement) -> None:
        """Execute a statement that returns no rows."""
        with _translated(self.dialect):
            await self._connection.execute(statement)

    async def rows(self, prepared: Prepared, *shape: int, **values: Any) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a prepared statement, as the driver gives them."""
        compiled = prepared.compiled(self.dialect, *shape)
        with _translated(self.dialect):
            driver = self._connection.raw_connection
            return await self.dialect.fetch(driver, compiled.text, compiled.arguments(values))


class Database:
    """One database. Single statements commit by themselves; `transact` is for more."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._database = databases.Database(dialect.url, **dialect.options)
        self._connections = Connections(self._database, dialect)

    async def open(self) -> None:
        """Connect. Raises DomovoiError database_unavailable."""
        with _translated(self.dialect):
            await self._database.connect()

    async def close(self) -> None:
        """Close every connection; one that is still in use after a while is left to the end of the process."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._connections.close()
                await self._database.disconnect()

    async def all(self, statement: ClauseElement) -> Sequence[Row]:
        """Return all rows of one statement."""
        return await self.read(lambda connection: connection.all(statement))

    async def one(self, statement: ClauseElement) -> Row | None:
        """Return the first row of one statement, or None."""
        rows = await self.all(statement)
        return rows[0] if rows else None

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Return what `work` reads on one connection, each statement by itself. It may be started again."""

        async def attempt() -> _T:
            async with self._connection() as connection:
                return await work(connection)

        return await _retried(attempt)

    async def snapshot(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Return what `work` reads, all of it as it stood at one moment. It locks nobody out, and must not write."""

        async def attempt() -> _T:
            async with self._connection() as connection:
                await connection.run(text(self.dialect.begin_snapshot))
                try:
                    return await work(connection)
                finally:
                    await _roll_back(connection)

        return await _retried(attempt)

    async def run(self, statement: ClauseElement) -> None:
        """Execute one statement that returns no rows."""
        await self.transact(lambda connection: connection.run(statement))

    async def transact(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Return what `work` returns, committed; roll back when it raises.

        Deadlocks and lock waits start `work` again, so it must have no other effects.
        Raises what `work` raises, and DomovoiError database_unavailable.
        """
        return await _retried(lambda: self._transact_once(work))

    async def _transact_once(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        # BEGIN and COMMIT as statements: the transaction objects of `databases` never give back a connection
        # whose ROLLBACK failed, and the pool runs dry when the database goes away.
        async with self._connection() as connection:
            await connection.rows(_BEGIN)
            try:
                result = await work(connection)
                await connection.rows(_COMMIT)
            except Exception:
                await _roll_back(connection)
                raise
            return result

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with _translated(self.dialect):
            async with asyncio.timeout(ANSWER_WITHIN_S), self._connections.use() as connection:
                yield Connection(connection, self.dialect)


async def _retried(attempt: Callable[[], Awaitable[_T]]) -> _T:
    pause = FIRST_PAUSE_S
    for _ in range(TRIES - 1):
        try:
            return await attempt()
        except _Conflict:
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311  # jitter, not a secret
            pause *= 2
    try:
        return await attempt()
    except _Conflict as error:
        raise DomovoiError(Code.DATABASE_UNAVAILABLE, "The database is too busy. Try again.") from error


async def _roll_back(connection: Connection) -> None:
    # A lost connection has rolled back by itself. One given back in mid-transaction (a cancelled task's) is closed.
    with suppress(DomovoiError, _Conflict):
        await connection.rows(_ROLLBACK)


@contextmanager
def _translated(dialect: Dialect) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if dialect.is_duplicate(error):
            raise DuplicateKey from error
        if dialect.is_conflict(error):
            raise _Conflict from error
        if dialect.is_unavailable(error):
            log.warning("database unavailable: %s", error)
            raise DomovoiError(Code.DATABASE_UNAVAILABLE) from error
        raise
