"""The real databases of server and device, on SQLite in memory and without the drivers' threads.

Threads would make two runs of one seed differ. The SQL, the schema and the transactions are the programs' own.
"""

from __future__ import annotations

import asyncio
import sqlite3
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import sqlalchemy
from sqlalchemy.pool import StaticPool

from inference_node.log.database import MIGRATIONS
from inference_node.log.database import Database as NodeDatabase
from sync_server.store.database import Connection, Database, Row, _translated
from sync_server.store.dialect import SQLite
from sync_server.store.tables import metadata

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence

    import aiosqlite
    from sqlalchemy.sql import ClauseElement

    from sync_server.store.prepared import Prepared

_T = TypeVar("_T")
# One for all runs, for statements are compiled once for each.
DIALECT = SQLite(Path("in memory"))


class Crashed(Exception):
    """The process ended here, in the middle of what it did."""


class Fuse:
    """Ends a process at one of its next statements."""

    def __init__(self) -> None:
        self._left: int | None = None

    def set(self, statements: int) -> None:
        """Crash after so many statements."""
        self._left = statements

    def clear(self) -> None:
        """Crash no more."""
        self._left = None

    def burn(self) -> None:
        """Take note of a statement. Raises Crashed at the last one."""
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            raise Crashed


# The server's side.


class _ServerConnection(Connection):
    def __init__(self, raw: sqlite3.Connection, engine: sqlalchemy.Connection, fuse: Fuse) -> None:
        self.dialect = DIALECT
        self._raw = raw
        self._engine = engine
        self._fuse = fuse

    async def all(self, statement: ClauseElement) -> Sequence[Row]:
        with _translated(DIALECT):
            return cast("Sequence[Row]", self._execute(statement).mappings().all())

    async def one(self, statement: ClauseElement) -> Row | None:
        with _translated(DIALECT):
            return cast("Row | None", self._execute(statement).mappings().first())

    async def run(self, statement: ClauseElement) -> None:
        with _translated(DIALECT):
            self._execute(statement)

    async def rows(self, prepared: Prepared, *shape: int, **values: Any) -> Sequence[tuple[Any, ...]]:
        self._fuse.burn()
        compiled = prepared.compiled(DIALECT, *shape)
        with _translated(DIALECT):
            return self._raw.execute(compiled.text, compiled.arguments(values)).fetchall()

    def _execute(self, statement: ClauseElement) -> sqlalchemy.CursorResult[Any]:
        self._fuse.burn()
        try:
            return self._engine.execute(statement)  # type: ignore[call-overload, no-any-return]
        except sqlalchemy.exc.DBAPIError as error:
            raise (error.orig or error) from error


class ServerStore(Database):
    """The server's database."""

    def __init__(self) -> None:
        self.dialect = DIALECT
        self.fuse = Fuse()
        self._raw = sqlite3.connect(":memory:", isolation_level=None)
        _empty_server().backup(self._raw)
        engine = sqlalchemy.create_engine("sqlite://", creator=lambda: self._raw, poolclass=StaticPool)
        self._sqlalchemy = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection_of_all = _ServerConnection(self._raw, self._sqlalchemy, self.fuse)

    async def read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        return await work(self._connection_of_all)

    async def snapshot(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        return await work(self._connection_of_all)

    async def transact(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        self._raw.execute(DIALECT.begin)
        try:
            result = await work(self._connection_of_all)
            self.fuse.burn()
        except BaseException:
            self._raw.execute("ROLLBACK")
            raise
        self._raw.execute("COMMIT")
        return result

    def last_dseq(self, device_id: bytes) -> int:
        """Return how far the device's log is here."""
        row = self._raw.execute("SELECT last_dseq FROM device WHERE device_id = ?", (device_id,)).fetchone()
        return 0 if row is None else int(row[0])

    def copy(self) -> sqlite3.Connection:
        """Return a backup."""
        return _copy(self._raw)

    def restore(self, backup: sqlite3.Connection) -> None:
        """Put a backup back."""
        backup.backup(self._raw)

    async def close(self) -> None:
        self._sqlalchemy.close()
        self._raw.close()


@cache
def _empty_server() -> sqlite3.Connection:
    engine = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)
    raw = engine.raw_connection().driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return _copy(raw)


# The device's side.


class _Cursor:
    """What aiosqlite's `execute` gives: to await, or to enter."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def __await__(self) -> Generator[Any, None, Self]:
        return self
        yield  # a generator that ends at once

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._cursor.close()

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()


class _DeviceConnection:
    def __init__(self, raw: sqlite3.Connection, fuse: Fuse) -> None:
        self._raw = raw
        self._fuse = fuse

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> _Cursor:
        if query != "BEGIN IMMEDIATE":
            self._fuse.burn()
        return _Cursor(self._raw.execute(query, parameters))

    async def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            self._fuse.burn()
            self._raw.execute(query, row)

    async def execute_fetchall(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        self._fuse.burn()
        return self._raw.execute(query, parameters).fetchall()

    async def commit(self) -> None:
        self._raw.execute("COMMIT")

    async def rollback(self) -> None:
        self._raw.execute("ROLLBACK")


class DeviceStore(NodeDatabase):
    """A device's database."""

    def __init__(self, backup: sqlite3.Connection | None = None) -> None:
        self.fuse = Fuse()
        self._raw = _copy(backup or _empty_device())
        self._raw.row_factory = sqlite3.Row
        self._raw.isolation_level = None
        super().__init__(cast("aiosqlite.Connection", _DeviceConnection(self._raw, self.fuse)))

    def copy(self) -> sqlite3.Connection:
        """Return a backup."""
        return _copy(self._raw)

    async def close(self) -> None:
        self._raw.close()


@cache
def _empty_device() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    for statement in MIGRATIONS:
        made.execute(statement)
    return made


def _copy(source: sqlite3.Connection) -> sqlite3.Connection:
    copied = sqlite3.connect(":memory:", isolation_level=None)
    source.backup(copied)
    return copied


async def pause(rng: random.Random, longest_s: float) -> None:
    """Wait for a while that is mostly short."""
    await asyncio.sleep(longest_s * rng.random() ** 3)
