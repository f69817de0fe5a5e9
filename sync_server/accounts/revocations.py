"""Tokens that are over before their time, as nodes are told of them (rule K9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from shared.key_sets import Revocation, Revocations
from shared.limits import RENEWABLE_S, TOKEN_LIFETIME_S
from sync_server import clock
from sync_server.store.tables import revocation

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database

# Once no token from before could be good or be renewed, nobody needs to hear of its end.
KEPT_S = TOKEN_LIFETIME_S + RENEWABLE_S


async def revoke_tokens(connection: Connection, account_id: bytes, device_id: bytes | None = None) -> None:
    """Declare the tokens that the device, or the whole account, was given up to now to be over.

    A number is a time where it can be one, so that a server whose backup was put back does not give one out again.
    """
    row = await connection.one(select(func.max(revocation.c.number).label("number")).with_for_update())
    newest = row["number"] if row is not None and row["number"] is not None else 0
    now_ms = clock.now_ms()
    values = {
        "number": max(now_ms, newest + 1),
        "account_id": account_id,
        "device_id": device_id,
        # A token of this very second is over too.
        "before_s": now_ms // 1000 + 1,
    }
    await connection.run(revocation.insert().values(**values))


async def revocations(database: Database, issuer: str) -> Revocations:
    """Return all that could still matter."""
    since_s = clock.now_ms() // 1000 - KEPT_S
    rows = await database.all(select(revocation).order_by(revocation.c.number))
    revoked = [
        Revocation(row["account_id"].hex(), row["before_s"], row["device_id"] and row["device_id"].hex())
        for row in rows
        if row["before_s"] > since_s
    ]
    return Revocations(issuer, rows[-1]["number"] if rows else 0, clock.now_ms() // 1000, revoked)


async def forget_old(database: Database) -> None:
    """Drop what does not matter any more, but never the newest number."""
    since_s = clock.now_ms() // 1000 - KEPT_S
    newest = select(func.max(revocation.c.number).label("number"))
    row = await database.one(newest)
    if row is not None and row["number"] is not None:
        is_over = (revocation.c.before_s <= since_s) & (revocation.c.number < row["number"])
        await database.run(delete(revocation).where(is_over))
