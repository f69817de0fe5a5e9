"""HTTP of nodes: log in, list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.wire import NodeLogin
from sync_server.accounts.authentication import authenticated
from sync_server.content import answer, read_struct
from sync_server.services import services_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def node_login(request: Request) -> Response:
    """Give a node the sync tokens of the accounts it serves."""
    logins = services_of(request).node_logins
    login = await read_struct(request, NodeLogin)
    node_id = await logins.verify(login.assertion)
    return answer(request, await logins.session(node_id, login.forked))


async def nodes(request: Request) -> Response:
    """List the account's nodes and how they are."""
    caller = await authenticated(request)
    return answer(request, await services_of(request).tunnels.nodes(caller.account_id))
