"""Everything in which SQLite and MySQL or MariaDB differ: addresses, locks, errors, upserts."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pymysql.err
import sqlalchemy
from sqlalchemy import Connection, Table, event, make_url
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from shared.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine.interfaces import Dialect as Grammar
    from sqlalchemy.sql.dml import Insert

# How long a writer waits for another one, and a migration for another process's.
LOCK_WAIT_S = 5
MIGRATION_WAIT_S = 60
CONNECT_WAIT_S = 5

# MySQL's numbers: lock wait timed out, deadlock, and MariaDB's "record has changed since last read".
_CONFLICTS = {1205, 1213, 1020}
_DUPLICATE = 1062
# Whatever the database's configuration says. MariaDB reads what stands behind "M!", from 10.11.8 on (of the versions
# from 11.0 to 11.3, none of which is kept any more, only the last ones know this variable); MySQL what stands behind
# "!": its name for the level is another.
_ISOLATION = (
    "/*M!101108 , tx_isolation = 'REPEATABLE-READ', innodb_snapshot_isolation = ON */"
    "/*!80000 , transaction_isolation = 'REPEATABLE-READ' */"
)


class Dialect(ABC):
    """One kind of database at one address.

    `url` and `options` are for `databases`; `grammar` is SQLAlchemy's, with parameters by position; `begin` starts a
    transaction that takes its locks without deadlock, `begin_snapshot` one that only reads; `advice` tells a person
    what to do when the database can't be used.
    """

    advice: str
    url: str
    options: dict[str, Any]
    grammar: Grammar
    begin: str
    begin_snapshot: str

    @abstractmethod
    def migration(self) -> AbstractContextManager[Connection]:
        """Hold a synchronous connection that no other process migrates beside; a context manager."""

    @abstractmethod
    def place(self) -> object:
        """Return what open connections belong to, so that they are given up when it is another; None: keep none open.

        None where the driver has a pool of its own.
        """

    @abstractmethod
    async def tune(self, driver: Any) -> None:
        """Give the driver's new connection the settings that are a connection's own."""

    @abstractmethod
    async def fetch(self, driver: Any, statement: str, arguments: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a statement on the driver's own connection."""

    @abstractmethod
    def upsert(self, table: Table, rows: Sequence[dict[str, Any]]) -> Insert:
        """Return one statement that writes all rows, replacing those with the same primary key."""

    @abstractmethod
    def is_conflict(self, error: BaseException) -> bool:
        """Say whether a transaction failed only because of another one, so that it may be tried again."""

    @abstractmethod
    def is_duplicate(self, error: BaseException) -> bool:
        """Say whether a row with that key exists already."""

    @abstractmethod
    def is_unavailable(self, error: BaseException) -> bool:
        """Say whether the database could not be reached or used at all."""


class SQLite(Dialect):
    """A file of our own, in WAL mode. An acknowledged commit is on the disk (synchronous=FULL)."""

    # Taking the write lock at once: a transaction that reads first can't upgrade behind another writer.
    begin = "BEGIN IMMEDIATE"
    begin_snapshot = "BEGIN"
    grammar = sqlite.dialect(paramstyle="qmark")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.advice = f"Check that {path} can be written to and that its disk has room."
        self.url = f"sqlite:///{quote(str(path))}"
        self.options = {"timeout": LOCK_WAIT_S}

    @contextmanager
    def migration(self) -> Iterator[Connection]:
        engine = sqlalchemy.create_engine(
            URL.create("sqlite", database=str(self.path)), connect_args={"timeout": MIGRATION_WAIT_S}
        )

        @event.listens_for(engine, "connect")
        def leave_transactions_to_us(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA journal_mode = WAL")

        @event.listens_for(engine, "begin")
        def lock(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")

        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def upsert(self, table: Table, rows: Sequence[dict[str, Any]]) -> Insert:
        statement = sqlite.insert(table).values(list(rows))
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key},
        )

    def is_conflict(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)

    def is_duplicate(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.IntegrityError)

    def is_unavailable(self, error: BaseException) -> bool:
        return isinstance(error, (sqlite3.OperationalError, sqlite3.DatabaseError, OSError, TimeoutError))

    def place(self) -> object:
        # `databases` has no pool for SQLite, and each connection is a thread and 0.6 ms. A file that was put in place
        # of ours (a backup) is another database.
        try:
            status = self.path.stat()
        except OSError:
            return "gone"
        return status.st_dev, status.st_ino

    async def tune(self, driver: Any) -> None:
        await driver.executescript("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY")

    async def fetch(self, driver: Any, statement: str, arguments: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        rows: Sequence[tuple[Any, ...]] = await driver.execute_fetchall(statement, arguments)
        return rows


class MySQL(Dialect):
    """MySQL or MariaDB, InnoDB."""

    begin = "START TRANSACTION"
    begin_snapshot = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
    grammar = mysql.dialect(paramstyle="format")
    advice = "Start the database, make the schema and the user, and check DOMOVOI_DATABASE_URL."

    def __init__(self, url: URL) -> None:
        self._url = url.update_query_dict({"charset": "utf8mb4"})
        self.url = url.set(drivername="mysql+aiomysql", host=url.host or "localhost").render_as_string(
            hide_password=False
        )
        self.options = {
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_WAIT_S,
            "init_command": f"SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = {LOCK_WAIT_S} "
            + _ISOLATION,
        }

    @contextmanager
    def migration(self) -> Iterator[Connection]:
        engine = sqlalchemy.create_engine(
            self._url.set(drivername="mysql+pymysql"), connect_args={"connect_timeout": CONNECT_WAIT_S}
        )
        # The lock is the whole server's, so its name carries the schema's.
        name = f"domovoi-migration {self._url.database}"[:64]
        try:
            with engine.connect() as connection:
                locked = connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (name, MIGRATION_WAIT_S)).scalar()
                if locked != 1:
                    raise StartupError("Another server is migrating the database and does not finish. Look at its log.")
                yield connection
                connection.commit()
                connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (name,))
        finally:
            engine.dispose()

    async def tune(self, driver: Any) -> None:
        # The pool's init_command did.
        pass

    def upsert(self, table: Table, rows: Sequence[dict[str, Any]]) -> Insert:
        statement = mysql.insert(table).values(list(rows))
        return statement.on_duplicate_key_update(
            {column.name: statement.inserted[column.name] for column in table.columns if not column.primary_key}
        )

    def is_conflict(self, error: BaseException) -> bool:
        return isinstance(error, pymysql.err.MySQLError) and _number(error) in _CONFLICTS

    def is_duplicate(self, error: BaseException) -> bool:
        return isinstance(error, pymysql.err.IntegrityError) and _number(error) == _DUPLICATE

    def is_unavailable(self, error: BaseException) -> bool:
        kinds = (pymysql.err.OperationalError, pymysql.err.InterfaceError, pymysql.err.InternalError, OSError)
        return isinstance(error, (*kinds, TimeoutError))

    def place(self) -> None:
        return None

    async def fetch(self, driver: Any, statement: str, arguments: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        async with driver.cursor() as cursor:
            await cursor.execute(statement, arguments)
            rows: Sequence[tuple[Any, ...]] = await cursor.fetchall()
            return rows


def _number(error: BaseException) -> object:
    return error.args[0] if error.args else None


def dialect_for(database_url: str | None, data: Path) -> Dialect:
    """Return the dialect of DOMOVOI_DATABASE_URL, or of SQLite in the data folder. Raises StartupError."""
    if database_url is None:
        return SQLite(data / "server.db")
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError) as error:
        raise StartupError(f"DOMOVOI_DATABASE_URL can't be read. {_EXAMPLES}") from error
    kind = url.get_backend_name()
    if kind in {"mysql", "mariadb"} and url.database:
        return MySQL(url)
    if kind == "sqlite" and url.database:
        return SQLite(Path(url.database).absolute())
    raise StartupError(f"DOMOVOI_DATABASE_URL does not name a database that Domovoi speaks to. {_EXAMPLES}")


_EXAMPLES = "Write mysql://user:password@host/database, mariadb://…, or leave it out for SQLite."
