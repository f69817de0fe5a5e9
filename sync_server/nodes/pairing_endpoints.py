"""HTTP of pairing: for the app, which asks and decides, and for the node, which has nothing but the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shared.pairing_wire import PairingConfirmation, PairingOffer, PairingProof, PairingRequest
from sync_server.accounts.authentication import authenticated
from sync_server.accounts.caller import address_of
from sync_server.content import answer, path_id, read_struct
from sync_server.services import services_of

if TYPE_CHECKING:
    from starlette.requests import Request


async def begin_pairing(request: Request) -> Response:
    """Return a pairing code, for the password."""
    services = services_of(request)
    caller = await authenticated(request)
    wish = await read_struct(request, PairingRequest)
    await services.accounts.check_password(caller, wish.password, address_of(request))
    return answer(request, await services.pairings.begin(caller.account_id))


async def look_at_pairing(request: Request) -> Response:
    """Say whether a node has come with the code, and which."""
    caller = await authenticated(request)
    pairing_id = path_id(request, "pairing_id")
    return answer(request, await services_of(request).pairings.look(caller.account_id, pairing_id))


async def confirm_pairing(request: Request) -> Response:
    """Pair the node that shows the same six digits."""
    services = services_of(request)
    caller = await authenticated(request)
    check = (await read_struct(request, PairingConfirmation)).check
    pairing = await services.pairings.confirm(caller.account_id, path_id(request, "pairing_id"), check)
    await services.tunnels.grants_changed(caller.account_id)
    return answer(request, pairing)


async def refuse_pairing(request: Request) -> Response:
    """Take the code back, or refuse the node that has come with it."""
    caller = await authenticated(request)
    await services_of(request).pairings.refuse(caller.account_id, path_id(request, "pairing_id"))
    return Response(status_code=204)


async def offer_node(request: Request) -> Response:
    """Take a node's keys and commitment for a code; the answer is what it must sign."""
    offer = await read_struct(request, PairingOffer)
    return answer(request, await services_of(request).pairings.offer(offer, address_of(request)))


async def prove_node(request: Request) -> Response:
    """Take a node's proof of its keys, and say how the pairing stands."""
    proof = await read_struct(request, PairingProof)
    return answer(request, await services_of(request).pairings.prove(proof, address_of(request)))
