"""HTTP of nodes: log in, list, unpair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shared.limits import NODE_ID_BYTES
from shared.wire import NodeLogin
from sync_server.accounts.authentication import authenticated
from sync_server.accounts.caller import address_of
from sync_server.content import answer, path_id, read_struct
from sync_server.nodes.unpairing import unpair
from sync_server.services import services_of

if TYPE_CHECKING:
    from starlette.requests import Request


async def node_login(request: Request) -> Response:
    """Give a node the sync tokens of the accounts it serves."""
    logins = services_of(request).node_logins
    login = await read_struct(request, NodeLogin)
    node_id = await logins.verify(login.assertion)
    return answer(request, await logins.session(node_id, login.forked))


async def nodes(request: Request) -> Response:
    """List the account's nodes and how they are."""
    caller = await authenticated(request)
    return answer(request, await services_of(request).tunnels.nodes(caller.account_id, address_of(request)))


async def unpair_node(request: Request) -> Response:
    """Unpair a node at once, with what the account has open there."""
    caller = await authenticated(request)
    await unpair(services_of(request), caller, path_id(request, "node_id", NODE_ID_BYTES))
    return Response(status_code=204)
