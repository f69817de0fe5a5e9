"""The server's side of a digest (rule L20), computed anew from the cells each time somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.digest import digest, joined
from shared.wire import Digest
from sync_server import clock
from sync_server.log.pull import read_books
from sync_server.store.tables import cell

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database

# Rows that are hashed between two breaths of the event loop.
PAGE = 1000


async def digest_of(database: Database, account_id: bytes) -> Digest:
    """Return the digest of the account's cells as they stand together at one head."""

    async def read(connection: Connection) -> Digest:
        books = await read_books(connection, account_id)
        folded = digest(())
        last = 0
        while True:
            columns = cell.c
            rows = await connection.all(
                select(columns.clk, columns.etype, columns.eid, columns.field, columns.seq)
                .where(columns.account_id == account_id, columns.seq > last)
                .order_by(columns.seq)
                .limit(PAGE)
            )
            entries = ((row["clk"], row["etype"], row["eid"], row["field"]) for row in rows)
            folded = joined(folded, digest(entries))
            if len(rows) < PAGE:
                return Digest(books["epoch"], books["head"], *folded, clock.now_ms())
            last = rows[-1]["seq"]

    return await database.snapshot(read)
