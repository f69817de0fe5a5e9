"""The node's calls to its server, in MessagePack."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from msgspec import Struct

from shared.errors import Code, DomovoiError, Problem
from shared.limits import MAX_PULL_CHANGES
from shared.wire import KeySet, NodeLogin, NodeSession, Pulled, Push, Pushed

TIMEOUT_S = 20.0
_MESSAGEPACK = "application/msgpack"
_LOCAL = {"localhost", "127.0.0.1", "::1"}

_T = TypeVar("_T", bound=Struct)


class ServerUnreachable(OSError):
    """The server does not answer, or something else answers at its address."""


class Server:
    """An HTTP client of one server. Every method raises ServerUnreachable, or DomovoiError with its refusal."""

    def __init__(self, url: str) -> None:
        # A proxy set for the internet must not get what is meant for this machine.
        is_local = urlsplit(url).hostname in _LOCAL
        self._client = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=not is_local)

    async def log_in(self, assertion: str) -> NodeSession:
        """Return sync tokens for the accounts that this node serves."""
        return await self._call("POST", "/api/v1/auth/node", NodeSession, body=NodeLogin(assertion))

    async def key_set(self) -> KeySet:
        """Return the server's signing keys."""
        return await self._call("GET", "/.well-known/jwks.json", KeySet)

    async def push(self, token: str, push: Push) -> Pushed:
        """Push changes."""
        return await self._call("POST", "/api/v1/sync/push", Pushed, token=token, body=push)

    async def pull(self, token: str, since: int, epoch: int | None) -> Pulled:
        """Return the changes after the cursor `since`; `epoch` None on the first pull."""
        query = f"since={since}&limit={MAX_PULL_CHANGES}" + ("" if epoch is None else f"&epoch={epoch}")
        return await self._call("GET", f"/api/v1/sync/pull?{query}", Pulled, token=token)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(
        self, method: str, path: str, reply: type[_T], *, token: str | None = None, body: Struct | None = None
    ) -> _T:
        headers = {"accept": _MESSAGEPACK}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        content = None
        if body is not None:
            headers["content-type"] = _MESSAGEPACK
            content = msgspec.msgpack.encode(body)
        try:
            response = await self._client.request(method, path, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise ServerUnreachable(f"{type(error).__name__}: {error}") from error
        try:
            if response.is_success:
                return msgspec.msgpack.decode(response.content, type=reply)
            raise _refusal(msgspec.json.decode(response.content, type=Problem))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            # A captive portal, a proxy's error page, another program on that port.
            raise ServerUnreachable(f"status {response.status_code} that is not the server's") from error


def _refusal(problem: Problem) -> DomovoiError | ServerUnreachable:
    try:
        code = Code(problem.code)
    except ValueError:
        return ServerUnreachable(f"a refusal of a newer server: {problem.code}")
    extra = {
        name: value for name in ("last_dseq", "epoch", "server_ms") if (value := getattr(problem, name)) is not None
    }
    return DomovoiError(code, problem.detail, **extra)
