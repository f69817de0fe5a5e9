"""Bodies in JSON or MessagePack, and errors as problem documents (rules W1, W2)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from starlette.requests import Request

_T = TypeVar("_T")

JSON = "application/json"
MESSAGE_PACK = "application/msgpack"
PROBLEM_JSON = "application/problem+json"
# More than any length that is taken has.
MOST_DIGITS = 12

log = logging.getLogger(__name__)

_NOT_STORED = {"Cache-Control": "no-store"}
_CODES_BY_STATUS = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}


async def read(request: Request, kind: type[_T], most_bytes: int) -> _T:
    """Decode the request's body.

    Raises DomovoiError `unsupported_media_type`, `body_too_large`, `bad_request`.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_plain = request.headers.get("content-encoding", "identity") == "identity"
    if content_type not in {JSON, MESSAGE_PACK} or not is_plain:
        raise DomovoiError(Code.UNSUPPORTED_MEDIA_TYPE)
    body = await body_of(request, most_bytes)
    try:
        if content_type == JSON:
            return msgspec.json.decode(body, type=kind)
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DomovoiError(Code.BAD_REQUEST, f"{str(error).rstrip('.')}. Check it against /openapi.json.") from error


def respond(request: Request, value: object, status: int = 200) -> Response:
    """Return the value as the caller likes it: MessagePack if it asks for that, else JSON."""
    if MESSAGE_PACK in request.headers.get("accept", ""):
        return Response(msgspec.msgpack.encode(value), status, _NOT_STORED, MESSAGE_PACK)
    return Response(msgspec.json.encode(value), status, _NOT_STORED, JSON)


def problem(error: DomovoiError) -> Response:
    """Return the problem document of an error: JSON for everybody, as RFC 9457 defines no other."""
    return Response(msgspec.json.encode(error.problem()), error.status, _NOT_STORED, PROBLEM_JSON)


async def on_domovoi_error(request: Request, error: Exception) -> Response:
    """Starlette's handler of DomovoiError."""
    assert isinstance(error, DomovoiError)  # noqa: S101  # registered for nothing else
    return problem(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Starlette's handler of its own HTTPException: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for nothing else
    return problem(DomovoiError(_CODES_BY_STATUS.get(error.status_code, Code.BAD_REQUEST)))


async def on_fault(request: Request, error: Exception) -> Response:
    """Starlette's handler of everything else, which is a fault of ours, but for a caller that has gone."""
    if not isinstance(error, ClientDisconnect):
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(DomovoiError(Code.INTERNAL))


HANDLERS = {DomovoiError: on_domovoi_error, HTTPException: on_http_error, Exception: on_fault}


async def body_of(request: Request, most_bytes: int) -> bytes:
    """Read a body whole. Raises DomovoiError `body_too_large`, `bad_request`."""
    # What is announced is not waited for. The other end of the tunnel may have announced anything.
    announced = request.headers.get("content-length", "")
    if len(announced) > MOST_DIGITS or (announced.isdecimal() and int(announced) > most_bytes):
        raise DomovoiError(Code.BODY_TOO_LARGE)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most_bytes:
                raise DomovoiError(Code.BODY_TOO_LARGE)
    except ClientDisconnect as error:
        raise DomovoiError(Code.BAD_REQUEST, "The body was cut short.") from error
    return bytes(body)
