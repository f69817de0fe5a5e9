"""HTTP of blobs, and of the space that an account has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from starlette.requests import ClientDisconnect, Request

from shared.errors import Code, DomovoiError
from shared.limits import HASH_BYTES, MAX_BLOB_PIECE_BYTES, MAX_SEQUENCE
from shared.wire import Usage
from sync_server.accounts.authentication import authenticated
from sync_server.content import FileAnswer, answer, path_id, query_number
from sync_server.services import services_of
from sync_server.store.tables import account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

# A file of a person's must neither run nor stay anywhere on the way.
_HEADERS = {"cache-control": "no-store", "content-disposition": "attachment"}


async def put_blob(request: Request) -> Response:
    """Send a file, or a piece of it."""
    caller = await authenticated(request)
    sha256 = path_id(request, "sha256", HASH_BYTES)
    offset = query_number(request, "offset", None, 0, MAX_SEQUENCE)
    size = query_number(request, "size", None, 0, MAX_SEQUENCE)
    if offset is None or size is None:
        raise DomovoiError(Code.BAD_REQUEST, "offset and size are missing.")
    if int(request.headers.get("content-length", "0")) > MAX_BLOB_PIECE_BYTES:
        raise DomovoiError(Code.BODY_TOO_LARGE, f"Send at most {MAX_BLOB_PIECE_BYTES} bytes at a time.")
    blobs = services_of(request).blobs
    return answer(request, await blobs.put(caller.account_id, sha256, offset, size, _pieces(request)))


async def get_blob(request: Request) -> Response:
    """Read a file that is whole, or a range of it."""
    caller = await authenticated(request)
    path = services_of(request).blob_files.whole(caller.account_id, path_id(request, "sha256", HASH_BYTES))
    if path is None:
        raise DomovoiError(Code.NOT_FOUND, "This account has no such file.")
    return FileAnswer(path, media_type="application/octet-stream", headers=_HEADERS)


async def blob_state(request: Request) -> Response:
    """Say how much of a file has arrived."""
    caller = await authenticated(request)
    sha256 = path_id(request, "sha256", HASH_BYTES)
    return answer(request, await services_of(request).blobs.state(caller.account_id, sha256))


async def usage(request: Request) -> Response:
    """Say how much space the account has, and how much of it is taken."""
    caller = await authenticated(request)
    columns = account.c
    row = await services_of(request).database.one(
        select(columns.bytes_used, columns.quota_bytes).where(columns.account_id == caller.account_id)
    )
    if row is None:
        raise DomovoiError(Code.TOKEN_INVALID)
    return answer(request, Usage(row["bytes_used"], row["quota_bytes"]))


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            yield piece
    except ClientDisconnect as error:
        raise DomovoiError(Code.BAD_REQUEST, "The piece was cut short; what came is kept.") from error
