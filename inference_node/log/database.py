"""`<data>/node/node.db`: the node's replica of each account's log, what it has to push, and its runs."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiosqlite

from shared.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Append only: a database of version n gets the statements after the n-th.
MIGRATIONS = (
    # `epoch` is null before the first pull. `last_clock` is the greatest clock made or seen (C2), `offset_ms` what
    # the server's clock is ahead by (C4).
    """CREATE TABLE account (
        account_id BLOB PRIMARY KEY, device_id BLOB NOT NULL, is_granted INTEGER NOT NULL, epoch INTEGER,
        cursor INTEGER NOT NULL DEFAULT 0, last_clock BLOB NOT NULL, offset_ms INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    # `seq` is 0 while the server has not given the change out.
    """CREATE TABLE cell (
        account_id BLOB, etype INTEGER, eid BLOB, field INTEGER, scope BLOB NOT NULL, clk BLOB NOT NULL,
        kid INTEGER NOT NULL, value BLOB NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY (account_id, etype, eid, field)
    ) WITHOUT ROWID""",
    "CREATE INDEX cell_by_scope ON cell (account_id, scope, etype)",
    "CREATE INDEX cell_not_given_out ON cell (account_id) WHERE seq = 0",
    # The node's own log. What the server has acknowledged keeps its hash, so that the chain can be taken up again
    # at any point (L8), and loses its change.
    """CREATE TABLE own_change (
        account_id BLOB, dseq INTEGER, hash BLOB NOT NULL, change BLOB,
        PRIMARY KEY (account_id, dseq)
    ) WITHOUT ROWID""",
    "CREATE INDEX outbox ON own_change (account_id, dseq) WHERE change IS NOT NULL",
    # The mutex of rule Q1. `text` is what a run that still goes on had said at its last checkpoint.
    """CREATE TABLE run (
        account_id BLOB, answer BLOB, conversation BLOB NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (account_id, answer)
    ) WITHOUT ROWID""",
    # Whether what the server's history lacks is still to be offered to it (L21).
    "ALTER TABLE account ADD COLUMN must_offer INTEGER NOT NULL DEFAULT 1",
    # The lease under which alone the change counts, as MessagePack (Q10), and the token of a run's.
    "ALTER TABLE own_change ADD COLUMN lease BLOB",
    "ALTER TABLE run ADD COLUMN lease BLOB",
    # What was acknowledged once and is offered again keeps its clock.
    "ALTER TABLE own_change ADD COLUMN is_offer INTEGER NOT NULL DEFAULT 0",
    # What the account may do with this node: use, or manage.
    "ALTER TABLE account ADD COLUMN level TEXT NOT NULL DEFAULT 'use'",
)

_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000", "foreign_keys = ON")


class Database:
    """One connection, one transaction at a time."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the database, bringing it up to date. Raises StartupError."""
        connection = None
        try:
            connection = await aiosqlite.connect(path, isolation_level=None)
            connection.row_factory = aiosqlite.Row
            for pragma in _PRAGMAS:
                await connection.execute(f"PRAGMA {pragma}")
            await _migrate(connection)
        except sqlite3.Error as error:
            if connection is not None:
                await connection.close()
            raise StartupError(
                f"The node's database {path} can't be opened ({error}). Check that you may write to the folder and "
                "that the disk is not full; if the file is damaged, move it away: the node then pulls its log anew."
            ) from error
        return cls(connection)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """Give the connection inside a transaction: committed at the end, rolled back by an exception."""
        async with self._lock:
            await self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                await self._connection.rollback()
                raise
            await self._connection.commit()


async def _migrate(connection: aiosqlite.Connection) -> None:
    async with connection.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    version = row[0] if row else 0
    for number, statement in enumerate(MIGRATIONS[version:], version + 1):
        await connection.execute("BEGIN IMMEDIATE")
        await connection.execute(statement)
        await connection.execute(f"PRAGMA user_version = {number}")
        await connection.commit()
