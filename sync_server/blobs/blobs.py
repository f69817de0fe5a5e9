"""Files of an account: their space, their pieces, and the end of those that nobody needs (rules B1-B6).

The table holds what the account has asked space for; whether a blob is whole, its file alone says. So a restored
database and the files beside it can disagree without harm: what is missing is sent again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, select

from shared import values
from shared.change import AttachmentField, EntityType
from shared.errors import Code, DomovoiError
from shared.limits import (
    BLOB_ORPHAN_KEPT_S,
    BLOB_RESTORED_KEPT_S,
    HASH_BYTES,
    MAX_BLOB_BYTES,
    MAX_BLOB_PIECE_BYTES,
)
from shared.wire import BlobState
from sync_server import clock
from sync_server.log.books import add_bytes, lock_books
from sync_server.store.tables import blob, cell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sync_server.blobs.blob_files import BlobFiles
    from sync_server.store.database import Connection, Database

log = logging.getLogger(__name__)

# What arrives is written in parts of this size, so that a slow sender costs little memory and a cut one loses little.
WRITE_BYTES = 256 * 1024


class Blobs:
    """The blobs of all accounts."""

    def __init__(self, database: Database, files: BlobFiles) -> None:
        self._database = database
        self._files = files

    async def state(self, account_id: bytes, sha256: bytes) -> BlobState:
        """Say how far a blob has arrived, and keep it for another week. Raises DomovoiError not_found."""
        row = await self._database.one(select(blob).where(_is(account_id, sha256)))
        if row is None:
            raise DomovoiError(Code.NOT_FOUND, "This account has no such file. Send it from the beginning.")
        touched_ms = max(row["touched_ms"], clock.now_ms())
        await self._database.run(blob.update().where(_is(account_id, sha256)).values(touched_ms=touched_ms))
        received = await asyncio.to_thread(self._files.received, account_id, sha256)
        is_whole = await asyncio.to_thread(self._files.whole, account_id, sha256)
        return BlobState(received if is_whole else row["size"], received)

    async def put(
        self, account_id: bytes, sha256: bytes, offset: int, size: int, pieces: AsyncIterator[bytes]
    ) -> BlobState:
        """Take a piece of a blob of `size` bytes, from `offset` on.

        Raises DomovoiError body_too_large, quota_exceeded, blob_offset, blob_damaged, disk_full, bad_request.
        """
        if size > MAX_BLOB_BYTES:
            raise DomovoiError(Code.BODY_TOO_LARGE, f"A file may have {MAX_BLOB_BYTES} bytes.")
        await self._database.transact(lambda connection: _reserve(connection, account_id, sha256, size))
        if await asyncio.to_thread(self._files.whole, account_id, sha256):
            whole = await asyncio.to_thread(self._files.received, account_id, sha256)
            return BlobState(whole, whole)
        received = await asyncio.to_thread(self._files.received, account_id, sha256)
        if offset != received:
            raise DomovoiError(Code.BLOB_OFFSET, received=received)
        end = await self._write(account_id, sha256, offset, size, pieces)
        if end == size:
            await asyncio.to_thread(self._files.finish, account_id, sha256)
        return BlobState(size, end)

    async def _write(
        self, account_id: bytes, sha256: bytes, offset: int, size: int, pieces: AsyncIterator[bytes]
    ) -> int:
        """Write what comes, and return where it ends. What came before a cut is kept."""
        waiting = bytearray()
        end = offset

        async def flush() -> None:
            nonlocal end
            await asyncio.to_thread(self._files.write, account_id, sha256, end, bytes(waiting))
            end += len(waiting)
            waiting.clear()

        try:
            async for piece in pieces:
                after = end + len(waiting) + len(piece)
                if after > size:
                    raise DomovoiError(Code.BAD_REQUEST, "The piece is longer than what is missing.")
                if after - offset > MAX_BLOB_PIECE_BYTES:
                    raise DomovoiError(Code.BODY_TOO_LARGE, f"Send at most {MAX_BLOB_PIECE_BYTES} bytes at a time.")
                waiting += piece
                if len(waiting) >= WRITE_BYTES:
                    await flush()
        finally:
            await flush()
        return end

    async def collect(self, account_id: bytes) -> int:
        """Remove the blobs of the account that nobody has needed for a while; return how many (rule B6).

        Files that the table does not know are counted from now on, and kept as long as any after a restored backup.
        """

        async def collect(connection: Connection) -> int:
            # The account is locked, so no sender can begin while its file is taken away.
            await lock_books(connection, account_id)
            rows = await connection.all(select(blob).where(blob.c.account_id == account_id))
            before_ms = clock.now_ms() - BLOB_ORPHAN_KEPT_S * 1000
            named = await named_files(connection, account_id)
            old = [row for row in rows if row["touched_ms"] < before_ms and row["sha256"] not in named]
            for row in old:
                await connection.run(delete(blob).where(_is(account_id, row["sha256"])))
                await asyncio.to_thread(self._files.remove, account_id, row["sha256"])
            # A file without a row: the database was restored. Devices may be about to name it again.
            known = {row["sha256"] for row in rows}
            stored = await asyncio.to_thread(lambda: list(self._files.stored(account_id)))
            found = {sha256: size for sha256, size in stored if sha256 not in known}
            for sha256, size in found.items():
                fields = {"account_id": account_id, "sha256": sha256, "size": size, "touched_ms": kept_from_ms()}
                await connection.run(blob.insert().values(**fields))
            await add_bytes(connection, account_id, sum(found.values()) - sum(row["size"] for row in old))
            return len(old)

        count = await self._database.transact(collect)
        if count:
            log.info("%d files of account %s were named by nothing and are removed", count, account_id.hex())
        return count


def kept_from_ms() -> int:
    """Return the `touched_ms` of a blob whose name a restored backup may lack: it is kept for 90 days, not for 7."""
    return clock.now_ms() + (BLOB_RESTORED_KEPT_S - BLOB_ORPHAN_KEPT_S) * 1000


async def _reserve(connection: Connection, account_id: bytes, sha256: bytes, size: int) -> None:
    """Have the blob's space counted, once: who names a smaller size later frees nothing by that.

    Raises DomovoiError quota_exceeded.
    """
    books = await lock_books(connection, account_id)
    row = await connection.one(select(blob).where(_is(account_id, sha256)))
    size = max(size, row["size"] if row else 0)
    growth = size - (row["size"] if row else 0)
    if growth > 0 and books["bytes_used"] + growth > books["quota_bytes"]:
        raise DomovoiError(Code.QUOTA_EXCEEDED)
    now_ms = clock.now_ms()
    if row is None:
        fields = {"account_id": account_id, "sha256": sha256, "size": size, "touched_ms": now_ms}
        await connection.run(blob.insert().values(**fields))
    else:
        touched_ms = max(row["touched_ms"], now_ms)
        await connection.run(blob.update().where(_is(account_id, sha256)).values(size=size, touched_ms=touched_ms))
    await add_bytes(connection, account_id, growth)


async def named_files(connection: Connection, account_id: bytes) -> set[bytes]:
    """Return the hashes that the account's attachments name."""
    rows = await connection.all(
        select(cell.c.value).where(
            cell.c.account_id == account_id,
            cell.c.etype == EntityType.ATTACHMENT,
            cell.c.field == AttachmentField.BLOB,
        )
    )
    hashes = (values.decode(row["value"], bytes) for row in rows)
    return {sha256 for sha256 in hashes if sha256 is not None and len(sha256) == HASH_BYTES}


def _is(account_id: bytes, sha256: bytes) -> ColumnElement[bool]:
    return (blob.c.account_id == account_id) & (blob.c.sha256 == sha256)
