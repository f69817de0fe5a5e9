"""Calls of a program that logs in as a person does, for tools: log in, log out, files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from inference_node.server.server_api import ServerApi
from shared.errors import Code, DomovoiError
from shared.limits import MAX_BLOB_PIECE_BYTES
from shared.wire import BlobState, Login, Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import BinaryIO


class AccountApi(ServerApi):
    """One server, as a device of one account. Every method raises DomovoiError and Unreachable."""

    async def log_in_as(self, username: str, password: str, device_name: str) -> Session:
        """Log in as a new device."""
        return await self._call("POST", "/api/v1/auth/login", Session, body=Login(username, password, device_name))

    async def disconnect(self, token: str, device_id: str) -> None:
        """End what this device may do."""
        await self._send("DELETE", f"/api/v1/devices/{device_id}", token=token)

    async def read_blob(self, token: str, sha256: bytes) -> AsyncIterator[bytes]:
        """Yield the content of a whole blob. Raises DomovoiError blob_damaged when it is another's."""
        folded = hashlib.sha256()
        async for piece in self._stream(f"/api/v1/blobs/{sha256.hex()}", token):
            folded.update(piece)
            yield piece
        if folded.digest() != sha256:
            raise DomovoiError(Code.BLOB_DAMAGED)

    async def has_blob(self, token: str, sha256: bytes) -> bool:
        """Say whether the blob is whole there."""
        try:
            state = await self._call("GET", f"/api/v1/blobs/{sha256.hex()}/state", BlobState, token=token)
        except DomovoiError as error:
            if error.code is Code.NOT_FOUND:
                return False
            raise
        return state.received == state.size

    async def send_blob(self, token: str, sha256: bytes, content: BinaryIO, size: int) -> None:
        """Send the blob in pieces, from where it ends there. `content` can seek.

        Raises ValueError when it is shorter than `size`.
        """
        offset = 0
        while True:
            content.seek(offset)
            query = {"offset": str(offset), "size": str(size)}
            path = f"/api/v1/blobs/{sha256.hex()}"
            piece = content.read(MAX_BLOB_PIECE_BYTES)
            if not piece and offset < size:
                raise ValueError("a file in it is shorter than it says")
            try:
                state = await self._call("PUT", path, BlobState, token=token, query=query, content=piece)
            except DomovoiError as error:
                if error.code is not Code.BLOB_OFFSET or error.extra["received"] == offset:
                    raise
                offset = int(error.extra["received"])
                continue
            if state.received >= size:
                return
            offset = state.received
