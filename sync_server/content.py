"""Bodies in JSON or MessagePack, by Content-Type and Accept (rule W1)."""

from __future__ import annotations

import asyncio
import gzip
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response

from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex
from shared.limits import ENTITY_ID_BYTES, MAX_JSON_BODY_BYTES

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

JSON = "application/json"
MESSAGEPACK = "application/msgpack"
# 2^53 has sixteen digits; converting many more would take time.
MAX_DIGITS = 16
COMPRESSED_FROM_BYTES = 4096

_T = TypeVar("_T", bound=Struct)


async def read_struct(request: Request, kind: type[_T], limit: int = MAX_JSON_BODY_BYTES) -> _T:
    """Return the body as a Struct. Raises DomovoiError unsupported_media_type, body_too_large, bad_request."""
    content_type = _content_type(request)
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


async def compressed_answer(request: Request, body: Struct) -> Response:
    """Return a Struct that may be large, compressed if the caller takes it: what people write shrinks to a third."""
    response = answer(request, body)
    if len(response.body) < COMPRESSED_FROM_BYTES or "gzip" not in request.headers.get("accept-encoding", ""):
        return response
    # Beside the event loop: a page of 4 MiB takes 50 ms. Level 1 takes half of that and 7 % more bytes, level 6 twice
    # that for 3 % fewer.
    content = await asyncio.to_thread(gzip.compress, response.body, 4, mtime=0)
    headers = {**_NOT_STORED, "vary": "accept, accept-encoding", "content-encoding": "gzip"}
    return Response(content, response.status_code, headers, response.media_type)


class FileAnswer(FileResponse):
    """A file, or the ranges of it that are asked for. What Starlette refuses in plain text becomes a problem."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises DomovoiError bad_request for ranges that it does not have."""

        async def send_unless_refused(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
                raise DomovoiError(Code.BAD_REQUEST, "Range names nothing of this file.")
            await send(message)

        await super().__call__(scope, receive, send_unless_refused)


def query_number(request: Request, name: str, default: int | None, lowest: int, highest: int) -> int | None:
    """Return a whole number of the query string. Raises DomovoiError bad_request."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and lowest <= int(text) <= highest):
        raise DomovoiError(Code.BAD_REQUEST, f"{name} is a whole number from {lowest} to {highest}.")
    return int(text)


def path_id(request: Request, name: str, size: int = ENTITY_ID_BYTES) -> bytes:
    """Return an identifier of the path, `size` bytes in lower-case hex. Raises DomovoiError not_found."""
    try:
        return from_hex(request.path_params[name], size)
    except ValueError as error:
        raise DomovoiError(Code.NOT_FOUND) from error


# Answers are about one account; nothing between here and the device may keep them.
_NOT_STORED = {"cache-control": "no-store", "vary": "accept"}


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read(request: Request, limit: int) -> bytes:
    if int(request.headers.get("content-length", "0")) > limit:
        raise DomovoiError(Code.BODY_TOO_LARGE, f"At most {limit} bytes are taken here.")
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                raise DomovoiError(Code.BODY_TOO_LARGE, f"At most {limit} bytes are taken here.")
    except ClientDisconnect as error:
        raise DomovoiError(Code.BAD_REQUEST, "The body was cut short.") from error
    return bytes(body)
