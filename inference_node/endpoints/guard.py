"""Who may call the loopback application at all: exact host names and exact origins, checked before anything else.

A page on any site can make the browser call localhost. The Host header stops names that were rebound to 127.0.0.1,
the Origin header stops other pages. Neither replaces a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from inference_node.endpoints.content import problem
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALLOWED_METHODS = "GET, POST, PATCH, DELETE"
ALLOWED_HEADERS = "Authorization, Content-Type, Accept, Last-Event-ID"
PREFLIGHT_KEPT_S = "600"


class Guard:
    """Lets through what comes to `hosts` ("localhost:8461") from `origins` ("http://localhost:8460") or no page."""

    def __init__(self, application: ASGIApp, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._application = application
        self._hosts = frozenset(hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer preflights and refusals here; pass everything else on."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        origin = origins[0] if origins else None
        is_foreign = origin is not None and (len(origins) > 1 or origin not in self._origins)
        if headers.getlist("host") not in [[host] for host in self._hosts] or is_foreign:
            refusal = problem(DomovoiError(Code.FORBIDDEN_ORIGIN))
            await refusal(scope, receive, send)
        elif origin is None:
            await self._application(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(headers, origin)(scope, receive, send)
        else:
            await self._application(scope, receive, _with_origin(send, origin))


def _preflight(headers: Headers, origin: str) -> Response:
    response = Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": PREFLIGHT_KEPT_S,
            "Vary": "Origin",
        },
    )
    if "access-control-request-private-network" in headers:
        response.headers["Access-Control-Allow-Private-Network"] = "true"
    return response


def _with_origin(send: Send, origin: str) -> Send:
    async def send_allowed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers.add_vary_header("Origin")
        await send(message)

    return send_allowed
