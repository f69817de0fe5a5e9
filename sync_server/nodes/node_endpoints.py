"""HTTP of nodes: log in, list, unpair, and who manages them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex
from shared.limits import ACCOUNT_ID_BYTES, NODE_ID_BYTES
from shared.people_wire import ManagerChange, NodePeople
from shared.wire import NodeLogin
from sync_server.accounts.authentication import authenticated
from sync_server.accounts.caller import address_of
from sync_server.content import answer, path_id, read_struct
from sync_server.nodes.people import change_manager, end_use, people_of
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


async def people(request: Request) -> Response:
    """List who uses a node, and who manages it."""
    caller = await authenticated(request)
    node_id = path_id(request, "node_id", NODE_ID_BYTES)
    return answer(request, NodePeople(await people_of(services_of(request).database, caller.account_id, node_id)))


async def new_manager(request: Request) -> Response:
    """Hand a node's management over, or take it while nobody has it, after a proof of the password."""
    services = services_of(request)
    caller = await authenticated(request)
    node_id = path_id(request, "node_id", NODE_ID_BYTES)
    change = await read_struct(request, ManagerChange)
    await services.accounts.check_password(caller, change.password, address_of(request))
    try:
        successor = from_hex(change.account_id, ACCOUNT_ID_BYTES)
    except ValueError as error:
        raise DomovoiError(Code.NOT_FOUND) from error
    await change_manager(services.database, caller.account_id, node_id, successor)
    await services.tunnels.grants_changed(caller.account_id, successor)
    return Response(status_code=204)


async def end_use_of_another(request: Request) -> Response:
    """Unpair another account from a node that the caller manages, at once."""
    services = services_of(request)
    caller = await authenticated(request)
    node_id = path_id(request, "node_id", NODE_ID_BYTES)
    other = path_id(request, "account_id", ACCOUNT_ID_BYTES)
    await end_use(services.database, caller.account_id, node_id, other)
    services.streams.close_node(other, node_id)
    await services.tunnels.grants_changed(other)
    return Response(status_code=204)
