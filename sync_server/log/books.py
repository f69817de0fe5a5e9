"""An account's books: its row, locked before anything else of the account is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from shared.errors import Code, DomovoiError
from sync_server.store.tables import account

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Row


# What a cell takes beyond its value, for the quota; near enough to what both databases use with keys.
CELL_OVERHEAD_BYTES = 128


async def lock_books(connection: Connection, account_id: bytes) -> Row:
    """Lock the account until the transaction ends, and return its row. Raises DomovoiError token_invalid.

    It must be the transaction's first statement, and it writes: a transaction that reads first fails under MariaDB's
    snapshot isolation when another one was faster.
    """
    await add_bytes(connection, account_id, 0)
    row = await connection.one(select(account).where(account.c.account_id == account_id).with_for_update())
    if row is None:
        raise DomovoiError(Code.TOKEN_INVALID)
    return row


async def add_bytes(connection: Connection, account_id: bytes, count: int) -> None:
    """Add to the space that the account takes, in bytes."""
    used = account.c.bytes_used + count
    await connection.run(account.update().where(account.c.account_id == account_id).values(bytes_used=used))
