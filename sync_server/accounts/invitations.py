"""Invitations to make an account: single use, seven days, stored hashed. `domovoi users` calls these too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from shared.errors import Code, DomovoiError
from shared.invitation_wire import Invitation, InvitationStage, NewInvitation
from shared.pairing import hashed_code
from sync_server import clock
from sync_server.accounts.one_time_codes import new_code
from sync_server.store.tables import account, invitation

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database, Row

# 80 bits: unlike the setup code, anyone may try these for a week.
GROUPS = 4
LIFETIME_MS = 7 * 86_400_000
# Long enough to see in the list what became of one, ms.
LISTED_MS = 30 * 86_400_000


async def check_owner(database: Database, account_id: bytes) -> None:
    """Raise DomovoiError owner_only for any account but the server's first."""
    row = await database.one(select(account.c.is_owner).where(account.c.account_id == account_id))
    if row is None or not row["is_owner"]:
        raise DomovoiError(Code.OWNER_ONLY)


async def invite(database: Database) -> NewInvitation:
    """Store a new invitation and return it with its code, which is shown this once. Old ones are forgotten."""
    code = new_code(GROUPS)
    now_ms = clock.now_ms()
    values = {"code_hash": hashed_code(code), "created_ms": now_ms, "expires_ms": now_ms + LIFETIME_MS}

    async def store(connection: Connection) -> None:
        await connection.run(delete(invitation).where(invitation.c.created_ms < now_ms - LISTED_MS))
        await connection.run(invitation.insert().values(**values))

    await database.transact(store)
    return NewInvitation(Invitation(hashed_code(code).hex(), "open", now_ms, now_ms + LIFETIME_MS), code)


async def list_invitations(database: Database) -> list[Invitation]:
    """Return every invitation, newest first."""
    rows = await database.all(select(invitation).order_by(invitation.c.created_ms.desc()))
    return [_described(row) for row in rows]


async def take_back(database: Database, code_hash: bytes) -> None:
    """Remove an invitation; an account that it made stays. Raises DomovoiError not_found."""

    async def remove(connection: Connection) -> None:
        this = invitation.c.code_hash == code_hash
        if await connection.one(select(invitation.c.code_hash).where(this).with_for_update()) is None:
            raise DomovoiError(Code.NOT_FOUND, "There is no such invitation any more.")
        await connection.run(delete(invitation).where(this))

    await database.transact(remove)


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


def _described(row: Row) -> Invitation:
    stage: InvitationStage = "expired" if row["expires_ms"] <= clock.now_ms() else "open"
    if row["used_ms"] is not None:
        stage = "used"
    return Invitation(row["code_hash"].hex(), stage, row["created_ms"], row["expires_ms"])
