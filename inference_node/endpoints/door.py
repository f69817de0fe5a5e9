"""Who asks: a person's device with a token for this node, or a program on this PC with an API key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference_node.endpoints.calls import Calls
from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex
from shared.limits import ACCOUNT_ID_BYTES

if TYPE_CHECKING:
    from starlette.requests import Request

    from inference_node.server.grants import Grants
    from inference_node.server.keyset import KeyRing
    from inference_node.server.renewals import Renewals


class Door:
    """Verifies tokens for this node (rules K1-K5, K11). The server need not be there."""

    def __init__(self, keys: KeyRing, renewals: Renewals, grants: Grants) -> None:
        self._keys = keys
        self._renewals = renewals
        self._grants = grants
        self.calls = Calls()
        keys.on_revoked = self._end_revoked

    async def account(self, request: Request, token: str | None) -> bytes:
        """Return the account that a token speaks for. The call ends as soon as the token is revoked.

        Raises DomovoiError `token_missing`, `token_expired`, `device_revoked`, and `token_invalid`, also for accounts
        not served here.
        """
        if not token:
            raise DomovoiError(Code.TOKEN_MISSING)
        claims = await self._renewals.verify(token)
        self.calls.note(request.scope, claims)
        try:
            account = from_hex(claims.sub, ACCOUNT_ID_BYTES)
        except ValueError as error:
            raise DomovoiError(Code.TOKEN_INVALID) from error
        if account not in self._grants.accounts:
            raise DomovoiError(Code.TOKEN_INVALID, "This PC does not serve your account. Pair it first.")
        return account

    async def manager(self, request: Request, token: str | None) -> bytes:
        """Return the account as `account` does, if it manages this node. Raises DomovoiError `manager_only` too."""
        account = await self.account(request, token)
        if account not in self._grants.managers:
            raise DomovoiError(Code.MANAGER_ONLY)
        return account

    def end_unserved(self) -> None:
        """End the calls of accounts that this node serves no more (rule P6)."""
        served = {account.hex() for account in self._grants.accounts}
        self.calls.end(lambda claims: claims.sub not in served)

    def _end_revoked(self) -> None:
        self.calls.end(self._keys.is_revoked)


def bearer(request: Request) -> str | None:
    """Return the token of `Authorization: Bearer`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
