"""Who calls: the sync token of a device that is not revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex
from shared.limits import ACCOUNT_ID_BYTES, DEVICE_ID_BYTES
from sync_server.accounts.caller import Caller, address_of
from sync_server.accounts.devices import check_device
from sync_server.services import services_of

if TYPE_CHECKING:
    from starlette.requests import Request


async def authenticated(request: Request) -> Caller:
    """Return the caller. Raises DomovoiError token_missing, token_invalid, token_expired, device_revoked."""
    caller = bearer(request)
    await check_device(services_of(request).database, caller.account_id, caller.device_id, address_of(request))
    return caller


def bearer(request: Request) -> Caller:
    """Return whom the token names, for a handler that looks at the device itself.

    Raises DomovoiError token_missing, token_invalid, token_expired.
    """
    services = services_of(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise DomovoiError(Code.TOKEN_MISSING)
    if scheme.lower() != "bearer" or not token:
        raise DomovoiError(Code.TOKEN_INVALID)
    claims = services.keys.verify(token)
    try:
        return Caller(from_hex(claims.sub, ACCOUNT_ID_BYTES), from_hex(claims.did, DEVICE_ID_BYTES), claims.exp)
    except ValueError as error:
        raise DomovoiError(Code.TOKEN_INVALID) from error
