"""Every error leaves through here, as RFC 9457 problem details (rule W2)."""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from shared.errors import Code, DomovoiError
from sync_server.accounts.throttle import TooManyTries

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
_CODES = {HTTPStatus.NOT_FOUND: Code.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED: Code.METHOD_NOT_ALLOWED}


def problem_response(error: DomovoiError) -> Response:
    """Return the problem document with the headers that go with it."""
    headers = {"cache-control": "no-store"}
    if isinstance(error, TooManyTries):
        headers["retry-after"] = str(error.retry_after_s)
    if error.status == HTTPStatus.UNAUTHORIZED and error.code is not Code.LOGIN_WRONG:
        headers["www-authenticate"] = "Bearer"
    return Response(msgspec.json.encode(error.problem()), error.status, headers, PROBLEM)


async def on_domovoi_error(_: Request, error: Exception) -> Response:
    """Starlette's handler for DomovoiError."""
    if not isinstance(error, DomovoiError):
        raise error
    return problem_response(error)


async def on_http_exception(_: Request, error: Exception) -> Response:
    """Starlette's handler for what its own routing refuses."""
    if not isinstance(error, HTTPException):
        raise error
    return problem_response(DomovoiError(_CODES.get(HTTPStatus(error.status_code), Code.BAD_REQUEST)))


class LastDoor:
    """Turns what nobody expected into `internal`, with an id under which the log names the cause."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def watch(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] in {"http.response.start", "websocket.accept"}
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            identifier = secrets.token_hex(8)
            log.exception("error %s at %s", identifier, HTTPConnection(scope).url.path)
            if has_started:
                # Too late for a document: the server cuts the connection, so that nothing looks complete.
                return
            internal = DomovoiError(Code.INTERNAL, instance=f"urn:domovoi:error:{identifier}")
            response = problem_response(internal)
            await response(scope, receive, send)
