"""HTTP of invitations, for the server's owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shared.invitation_wire import Invitations
from shared.limits import HASH_BYTES
from sync_server.accounts import invitations
from sync_server.accounts.authentication import authenticated
from sync_server.content import answer, path_id
from sync_server.services import services_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from sync_server.store.database import Database


async def list_invitations(request: Request) -> Response:
    """List what was made in the last thirty days."""
    database = await _owners_database(request)
    return answer(request, Invitations(await invitations.list_invitations(database)))


async def invite(request: Request) -> Response:
    """Make an invitation."""
    return answer(request, await invitations.invite(await _owners_database(request)))


async def take_back(request: Request) -> Response:
    """Take an invitation back."""
    database = await _owners_database(request)
    await invitations.take_back(database, path_id(request, "invitation_id", HASH_BYTES))
    return Response(status_code=204)


async def _owners_database(request: Request) -> Database:
    caller = await authenticated(request)
    database = services_of(request).database
    await invitations.check_owner(database, caller.account_id)
    return database
