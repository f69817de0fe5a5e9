"""Who may call the loopback application: exact hosts and origins, and the app's own pages by CORS.

Exact sets, because a name that a stranger controls may resolve to this machine (DNS rebinding), and because any
page in the browser may send requests here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from inference_node.problems import problem_response
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Chromium asks, before a page of the internet may call this machine; its word for it changed.
_LOCAL_ACCESS = ("access-control-request-private-network", "access-control-request-local-network")
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type, accept, last-event-id, cache-control",
    "access-control-max-age": "600",
}


class Guard:
    """ASGI middleware; pure, because Starlette's base class breaks streaming."""

    def __init__(self, app: ASGIApp, port: int, origins: Iterable[str]) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in _LOCAL_NAMES}
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")

        async def finish(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                own["x-content-type-options"] = "nosniff"
                own["referrer-policy"] = "no-referrer"
                own.add_vary_header("origin")
                if origin in self._origins:
                    own["access-control-allow-origin"] = origin
            await send(message)

        if not self._is_allowed(headers):
            await problem_response(DomovoiError(Code.FORBIDDEN_ORIGIN))(scope, receive, finish)
        elif scope["method"] == "OPTIONS" and origin is not None:
            allowed = {name.replace("request", "allow", 1): "true" for name in _LOCAL_ACCESS if name in headers}
            await Response(status_code=204, headers=_PREFLIGHT | allowed)(scope, receive, finish)
        else:
            await self._app(scope, receive, finish)

    def _is_allowed(self, headers: Headers) -> bool:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return False
        return not origins or (len(origins) == 1 and origins[0] in self._origins)
