"""Invitations to make an account: single use, seven days, stored hashed. `domovoi users` calls these too."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from shared.errors import Code, DomovoiError
from shared.pairing import hashed_code
from sync_server import clock
from sync_server.accounts.one_time_codes import new_code
from sync_server.store.tables import invitation

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database

# 80 bits: unlike the setup code, anyone may try these for a week.
GROUPS = 4
LIFETIME_MS = 7 * 86_400_000


class Invitation(NamedTuple):
    """One invitation as it may be listed: never its code. Times are in milliseconds since 1970."""

    created_ms: int
    expires_ms: int
    used_ms: int | None


async def invite(database: Database) -> str:
    """Store a new invitation and return its code, which is shown this once."""
    code = new_code(GROUPS)
    now_ms = clock.now_ms()
    values = {"code_hash": hashed_code(code), "created_ms": now_ms, "expires_ms": now_ms + LIFETIME_MS}
    await database.run(invitation.insert().values(**values))
    return code


async def list_invitations(database: Database) -> list[Invitation]:
    """Return every invitation, oldest first."""
    rows = await database.all(select(invitation).order_by(invitation.c.created_ms))
    return [Invitation(row["created_ms"], row["expires_ms"], row["used_ms"]) for row in rows]


async def use(connection: Connection, code: str | None) -> None:
    """Use up an invitation in the transaction that makes the account. Raises DomovoiError invitation_wrong."""
    if code is None:
        raise DomovoiError(Code.INVITATION_WRONG, "This server has an owner. Ask for an invitation to join.")
    this = invitation.c.code_hash == hashed_code(code)
    row = await connection.one(select(invitation).where(this).with_for_update())
    now_ms = clock.now_ms()
    if row is None or row["used_ms"] is not None or row["expires_ms"] <= now_ms:
        raise DomovoiError(Code.INVITATION_WRONG)
    await connection.run(invitation.update().where(this).values(used_ms=now_ms))
