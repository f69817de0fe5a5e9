"""A new history after a restored backup (rule L21), for `domovoi server restored`, while the server stands still."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from sync_server.blobs.blobs import kept_from_ms
from sync_server.store.tables import account, blob, device, lease, refresh_token

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database


def new_epoch() -> int:
    """Return a name for a history: random, so that one that begins again is never taken for the old one."""
    return secrets.randbelow(2**32 - 1) + 1


async def begin_histories(database: Database) -> int:
    """Give every account a new epoch, end every login and every lease, and return how many accounts there are.

    Devices then offer what the backup does not have. Raises DomovoiError database_unavailable.
    """

    async def begin(connection: Connection) -> int:
        # Writing first takes the lock, and leaves nothing to the old logins whatever comes after.
        await connection.run(delete(refresh_token))
        await connection.run(delete(lease))
        # What devices have read was numbered otherwise.
        await connection.run(device.update().values(acked_seq=0))
        # What names them may be among what devices are going to offer.
        await connection.run(blob.update().values(touched_ms=kept_from_ms()))
        rows = await connection.all(select(account.c.account_id, account.c.epoch).with_for_update())
        for row in rows:
            epoch = next(made for made in iter(new_epoch, 0) if made != row["epoch"])
            this = account.c.account_id == row["account_id"]
            await connection.run(account.update().where(this).values(epoch=epoch))
        return len(rows)

    return await database.transact(begin)
