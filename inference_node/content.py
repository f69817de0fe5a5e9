"""Bodies in JSON or MessagePack, by Content-Type and Accept (rule W1)."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from shared.errors import Code, DomovoiError

JSON = "application/json"
MESSAGEPACK = "application/msgpack"

_T = TypeVar("_T", bound=Struct)
# Answers are about one account; nothing between here and the device may keep them.
_NOT_STORED = {"cache-control": "no-store", "vary": "accept"}


async def read_struct(request: Request, kind: type[_T], limit: int) -> _T:
    """Return the body as a Struct. Raises DomovoiError unsupported_media_type, body_too_large, bad_request."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in {JSON, MESSAGEPACK} or request.headers.get("content-encoding", "identity") != "identity":
        raise DomovoiError(Code.UNSUPPORTED_MEDIA_TYPE)
    body = await _read(request, limit)
    try:
        if content_type == MESSAGEPACK:
            return msgspec.msgpack.decode(body, type=kind)
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        # Names the member and what was expected, never the value.
        raise DomovoiError(Code.BAD_REQUEST, f"{error}.") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DomovoiError(Code.BAD_REQUEST, "The body is not well-formed.") from error


def answer(request: Request, body: Struct, status: int = 200) -> Response:
    """Return the Struct in the encoding that the caller accepts; JSON unless it asks for MessagePack."""
    if MESSAGEPACK in request.headers.get("accept", ""):
        return Response(msgspec.msgpack.encode(body), status, media_type=MESSAGEPACK, headers=_NOT_STORED)
    return Response(msgspec.json.encode(body), status, media_type=JSON, headers=_NOT_STORED)


async def _read(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                raise DomovoiError(Code.BODY_TOO_LARGE, f"At most {limit} bytes are taken here.")
    except ClientDisconnect as error:
        raise DomovoiError(Code.BAD_REQUEST, "The body was cut short.") from error
    return bytes(body)
