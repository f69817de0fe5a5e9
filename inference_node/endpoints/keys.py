"""/v1/keys: the app makes, lists, names and revokes keys for other programs. An account sees the keys it has made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from inference_node.endpoints.content import read, respond
from shared.errors import Code, DomovoiError
from shared.key_wire import ApiKey, ApiKeyName, ApiKeys, NewApiKey
from shared.limits import MAX_JSON_BODY_BYTES

if TYPE_CHECKING:
    from starlette.requests import Request

    from inference_node.endpoints import api_keys
    from inference_node.endpoints.answers import Authenticate

MOST_KEYS_EACH = 100


class KeyEndpoints:
    """The endpoints. `authenticate` returns the caller's account or raises DomovoiError."""

    def __init__(self, keys: api_keys.ApiKeys, authenticate: Authenticate) -> None:
        self._keys = keys
        self._authenticate = authenticate

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/keys", self.list_all, methods=["GET"]),
            Route("/v1/keys", self.create, methods=["POST"]),
            Route("/v1/keys/{key}", self.rename, methods=["PATCH"]),
            Route("/v1/keys/{key}", self.revoke, methods=["DELETE"]),
        ]

    async def list_all(self, request: Request) -> Response:
        """Show the account's keys, without their secrets."""
        account = await self._authenticate(request)
        return respond(request, ApiKeys([self._shown(key) for key in self._own(account)]))

    async def create(self, request: Request) -> Response:
        """Make a key and show its secret, this once."""
        account = await self._authenticate(request)
        body = await read(request, ApiKeyName, MAX_JSON_BODY_BYTES)
        if len(self._own(account)) >= MOST_KEYS_EACH:
            raise DomovoiError(Code.QUOTA_EXCEEDED, f"There are {MOST_KEYS_EACH} keys already. Revoke one first.")
        secret = self._keys.create(body.name, account.hex())
        key = self._keys.find(secret)
        if key is None:
            raise DomovoiError(Code.INTERNAL)
        return respond(request, NewApiKey(self._shown(key), secret), 201)

    async def rename(self, request: Request) -> Response:
        """Give a key another name."""
        account = await self._authenticate(request)
        body = await read(request, ApiKeyName, MAX_JSON_BODY_BYTES)
        key = self._find(account, request.path_params["key"])
        if key is None:
            raise DomovoiError(Code.NOT_FOUND, "There is no such key. Make a new one.")
        return respond(request, self._shown(self._keys.rename(key, body.name)))

    async def revoke(self, request: Request) -> Response:
        """Take a key back. One that is not there opens nothing either."""
        account = await self._authenticate(request)
        key = self._find(account, request.path_params["key"])
        if key is not None:
            self._keys.revoke(key)
        return Response(status_code=204)

    def _own(self, account: bytes) -> list[api_keys.ApiKey]:
        return [key for key in self._keys.list() if key.account == account.hex()]

    def _find(self, account: bytes, identifier: str) -> api_keys.ApiKey | None:
        return next((key for key in self._own(account) if key.id == identifier), None)

    def _shown(self, key: api_keys.ApiKey) -> ApiKey:
        return ApiKey(key.id, key.name, key.prefix, key.created_ms, self._keys.last_used_ms(key))
