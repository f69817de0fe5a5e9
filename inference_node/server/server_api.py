"""Calls of the node to the sync server, in MessagePack."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import httpx
import msgspec

from shared.errors import Code, DomovoiError, Problem
from shared.limits import DEFAULT_PULL_CHANGES, MAX_PULL_CHANGES
from shared.wire import (
    Bootstrapped,
    Digest,
    KeySet,
    Lease,
    LeaseRequest,
    NodeLogin,
    NodeSession,
    Pulled,
    Push,
    Pushed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

_T = TypeVar("_T")

MESSAGE_PACK = "application/msgpack"
TIMEOUT = httpx.Timeout(20.0, connect=5.0)

_NOT_OURS = (msgspec.MsgspecError, UnicodeDecodeError, ValueError)


class ServerApi:
    """One server. Every method raises DomovoiError with the server's code, and Unreachable without any."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, timeout=TIMEOUT, headers={"Accept": MESSAGE_PACK}, trust_env=is_remote(url)
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def log_in(self, assertion: str, forked: Sequence[str] = ()) -> NodeSession:
        """Return the accounts that the node serves, with their tokens, as a new device for each forked one (hex)."""
        return await self._call("POST", "/api/v1/auth/node", NodeSession, body=NodeLogin(assertion, list(forked)))

    async def key_set(self) -> KeySet:
        """Return the keys that sign tokens."""
        return await self._call("GET", "/.well-known/jwks.json", KeySet)

    async def push(self, token: str, batch: Push) -> Pushed:
        """Push changes of the token's device."""
        return await self._call("POST", "/api/v1/sync/push", Pushed, token=token, body=batch)

    async def pull(self, token: str, since: int, epoch: int | None) -> Pulled:
        """Return what the account's log has after `since`."""
        query = {"since": str(since), "limit": str(DEFAULT_PULL_CHANGES)}
        if epoch is not None:
            query["epoch"] = str(epoch)
        return await self._call("GET", "/api/v1/sync/pull", Pulled, token=token, query=query)

    async def bootstrap(self, token: str, after: str | None, scope: bytes | None = None) -> Bootstrapped:
        """Return a page of the account's cells, or of one conversation's."""
        path = "/api/v1/sync/bootstrap" if scope is None else f"/api/v1/sync/scopes/{scope.hex()}"
        # No more than a transaction should hold: while it is open, nothing else of this program writes.
        query = {"limit": str(MAX_PULL_CHANGES)} | ({} if after is None else {"after": after})
        return await self._call("GET", path, Bootstrapped, token=token, query=query)

    async def digest(self, token: str) -> Digest:
        """Return what the account's cells fold to."""
        return await self._call("GET", "/api/v1/sync/digest", Digest, token=token)

    async def lease(self, token: str, wish: LeaseRequest) -> Lease:
        """Claim, renew or release the right to run an answer."""
        return await self._call("POST", "/api/v1/leases", Lease, token=token, body=wish)

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[_T],
        *,
        token: str | None = None,
        body: object = None,
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> _T:
        response = await self._send(method, path, token=token, body=body, query=query, content=content)
        try:
            return _decoded(response, kind)
        except _NOT_OURS as error:
            raise Unreachable(f"{path} answered with something else") from error

    async def _send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """Return the answer to `body` in MessagePack, or to `content` as it is."""
        headers = _authorised(token)
        if body is not None:
            headers["Content-Type"] = MESSAGE_PACK
            content = msgspec.msgpack.encode(body)
        try:
            response = await self._client.request(method, path, headers=headers, content=content, params=query)
        except httpx.TransportError as error:
            raise Unreachable(str(error) or type(error).__name__) from error
        _raise_problem(response)
        return response

    async def _stream(self, path: str, token: str) -> AsyncIterator[bytes]:
        try:
            async with self._client.stream("GET", path, headers=_authorised(token)) as response:
                if not response.is_success:
                    await response.aread()
                    _raise_problem(response)
                async for piece in response.aiter_bytes():
                    yield piece
        except httpx.TransportError as error:
            raise Unreachable(str(error) or type(error).__name__) from error


class Unreachable(Exception):
    """The server does not answer, or what answers is not our server."""


def _authorised(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _raise_problem(response: httpx.Response) -> None:
    """Raise what the answer says, if it is no success."""
    if response.is_success:
        return
    try:
        problem = _decoded(response, Problem)
        code = Code(problem.code)
    except _NOT_OURS as error:
        # A proxy's error page, or a server of another age.
        raise Unreachable(f"{response.url.path} answered {response.status_code} with something else") from error
    members = ("last_dseq", "acked_dseq", "epoch", "server_ms", "received")
    extra = {name: value for name in members if (value := getattr(problem, name)) is not None}
    raise DomovoiError(code, problem.detail, **extra)


def _decoded(response: httpx.Response, kind: type[_T]) -> _T:
    if "msgpack" in response.headers.get("Content-Type", ""):
        return msgspec.msgpack.decode(response.content, type=kind)
    return msgspec.json.decode(response.content, type=kind)


def is_remote(url: str) -> bool:
    """Whether the environment's proxies apply: never for a server on this machine."""
    return httpx.URL(url).host not in {"localhost", "127.0.0.1", "::1"}
