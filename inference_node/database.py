"""The node's own SQLite file: accounts, cells, outbox and runs. One connection on one thread."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from shared.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_T = TypeVar("_T")

# Numbered and append-only: the n-th script takes a file from user_version n - 1 to n.
_MIGRATIONS = (
    """
    CREATE TABLE account (
        account_id BLOB PRIMARY KEY,
        device_id BLOB NOT NULL,
        is_granted INTEGER NOT NULL,
        epoch INTEGER,
        cursor INTEGER NOT NULL DEFAULT 0,
        clock BLOB NOT NULL DEFAULT (zeroblob(16)),
        last_dseq INTEGER NOT NULL DEFAULT 0,
        acked_dseq INTEGER NOT NULL DEFAULT 0,
        acked_hash BLOB NOT NULL DEFAULT (zeroblob(32))
    ) WITHOUT ROWID;
    CREATE TABLE cell (
        account_id BLOB NOT NULL,
        etype INTEGER NOT NULL,
        eid BLOB NOT NULL,
        field INTEGER NOT NULL,
        scope BLOB NOT NULL,
        clk BLOB NOT NULL,
        kid INTEGER NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (account_id, etype, eid, field)
    ) WITHOUT ROWID;
    CREATE INDEX cell_by_scope ON cell (account_id, scope);
    CREATE TABLE outbox (
        account_id BLOB NOT NULL,
        dseq INTEGER NOT NULL,
        clk BLOB NOT NULL,
        etype INTEGER NOT NULL,
        eid BLOB NOT NULL,
        field INTEGER NOT NULL,
        scope BLOB NOT NULL,
        kid INTEGER NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (account_id, dseq)
    ) WITHOUT ROWID;
    CREATE TABLE open_request (
        account_id BLOB NOT NULL,
        answer_id BLOB NOT NULL,
        scope BLOB NOT NULL,
        PRIMARY KEY (account_id, answer_id)
    ) WITHOUT ROWID;
    CREATE TABLE run (
        account_id BLOB NOT NULL,
        answer_id BLOB NOT NULL,
        conversation_id BLOB NOT NULL,
        state TEXT NOT NULL,
        body TEXT NOT NULL DEFAULT '',
        started_ms INTEGER NOT NULL,
        PRIMARY KEY (account_id, answer_id)
    ) WITHOUT ROWID;
    """,
)


class Database:
    """Runs functions as transactions, one after the other, off the event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="node-db")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file and bring it up to date. Raises StartupError when it can't be used."""
        try:
            self._connection = await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        except sqlite3.Error as error:
            self._thread.shutdown()
            raise StartupError(
                f"The node's database {self._path} can't be used ({error}). Check permissions and free space, "
                "or move the file away: what the server has is fetched again."
            ) from error

    async def transact(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `work` in one transaction, committed when it returns and undone when it raises."""

        def run() -> _T:
            connection = self._connection
            if connection is None:
                raise sqlite3.ProgrammingError("the database is not open")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def close(self) -> None:
        """Close the file. What was committed is on disk."""
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
            self._connection = None
        self._thread.shutdown()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=1)
        try:
            # One node a file: a second one would answer the same requests.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(_MIGRATIONS):
                raise sqlite3.DatabaseError("it was made by a newer version of Domovoi")
            for number, script in enumerate(_MIGRATIONS[version:], version + 1):
                connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
        except sqlite3.Error:
            connection.close()
            raise
        return connection
