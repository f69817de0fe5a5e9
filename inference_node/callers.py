"""Who is calling: an account, by its token for this node, or a program on this PC, by its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference_node.services import services_of
from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex

if TYPE_CHECKING:
    from starlette.requests import Request

NODE_TOKEN_HEADER = "domovoi-node-token"  # noqa: S105
_BEARER = "bearer "


async def account_of(request: Request) -> bytes:
    """Return the account whose token came with the request.

    Raises DomovoiError token_missing, token_invalid, token_expired; node_unknown for an account not served here.
    """
    services = services_of(request)
    claims = await services.key_set.verify(_token(request))
    try:
        account_id = from_hex(claims.sub)
    except ValueError as error:
        raise DomovoiError(Code.TOKEN_INVALID) from error
    if not services.accounts.serves(account_id):
        raise DomovoiError(Code.NODE_UNKNOWN)
    return account_id


def require_key(request: Request) -> None:
    """Check the API key. Raises DomovoiError token_missing, token_invalid."""
    if not services_of(request).api_keys.is_valid(_bearer(request)):
        raise DomovoiError(Code.TOKEN_INVALID, "This API key is not valid. Make one: domovoi keys create.")


async def require_either(request: Request) -> None:
    """Check that an account or, on this PC, a program may ask. Raises what the two checks raise."""
    if is_remote(request) or not services_of(request).api_keys.is_valid(_bearer(request)):
        await account_of(request)


def is_remote(request: Request) -> bool:
    """Say whether the request came to the remote application."""
    return bool(request.app.state.is_remote)


def _token(request: Request) -> str:
    if not is_remote(request):
        return _bearer(request)
    tokens = request.headers.getlist(NODE_TOKEN_HEADER)
    if len(tokens) != 1:
        raise DomovoiError(Code.TOKEN_MISSING)
    return tokens[0]


def _bearer(request: Request) -> str:
    values = request.headers.getlist("authorization")
    if len(values) != 1 or not values[0].lower().startswith(_BEARER):
        raise DomovoiError(Code.TOKEN_MISSING)
    return values[0][len(_BEARER) :].strip()
