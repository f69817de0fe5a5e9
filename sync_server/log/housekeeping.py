"""What nobody waits for: tombstones that all have read, pairings that are over, and files that nothing names."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from sqlalchemy import select

from sync_server.accounts.revocations import forget_old
from sync_server.log.purges import expire_tombstones
from sync_server.nodes.pairing import forget_old_pairings
from sync_server.store.tables import account

if TYPE_CHECKING:
    from sync_server.blobs.blobs import Blobs
    from sync_server.store.database import Database

log = logging.getLogger(__name__)

# Jittered: several servers over one database need not all come at once.
EVERY_S = (1800.0, 3600.0)


async def housekeep(database: Database, blobs: Blobs) -> None:
    """Look after every account, once. Raises DomovoiError database_unavailable."""
    await forget_old(database)
    for row in await database.all(select(account.c.account_id)):
        await expire_tombstones(database, row["account_id"])
        await forget_old_pairings(database, row["account_id"])
        await blobs.collect(row["account_id"])


async def keep_house(database: Database, blobs: Blobs) -> None:
    """Look after every account now and then, for ever."""
    while True:
        await asyncio.sleep(random.uniform(*EVERY_S))  # noqa: S311  # jitter, not a secret
        try:
            await housekeep(database, blobs)
        except Exception:
            # Another time will do; the server must not end for it.
            log.exception("housekeeping was cut short")
