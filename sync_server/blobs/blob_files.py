"""The bytes of blobs, in `<data>/blobs/<account>/<two digits>/<sha256>`; what is still arriving ends in `.part`.

Functions block: call them in a thread. Nothing is locked, because a name admits one content alone: two senders of one
blob write the same bytes to the same places, and the check at the end catches whoever sent others.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from typing import TYPE_CHECKING

from shared import private_files
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PART = ".part"


class BlobFiles:
    """Every account's blobs. A blob is `(account id, sha256)`, both as bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def whole(self, account_id: bytes, sha256: bytes) -> Path | None:
        """Return the file of a blob that is whole, or None."""
        path = self._path(account_id, sha256)
        return path if path.is_file() else None

    def received(self, account_id: bytes, sha256: bytes) -> int:
        """Return how many bytes are there."""
        path = self._path(account_id, sha256)
        for candidate in (path, _part(path)):
            with contextlib.suppress(FileNotFoundError):
                return candidate.stat().st_size
        return 0

    def write(self, account_id: bytes, sha256: bytes, offset: int, data: bytes) -> None:
        """Put `data` at `offset` of what is arriving. Raises DomovoiError disk_full."""
        part = _part(self._path(account_id, sha256))
        try:
            private_files.make_folder(part.parent)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.seek(offset)
                file.write(data)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise DomovoiError(Code.DISK_FULL, "Make room on the server, then send the rest.") from error
            raise

    def finish(self, account_id: bytes, sha256: bytes) -> None:
        """Check what has arrived and make it whole, on the disk for good. Raises DomovoiError blob_damaged."""
        path = self._path(account_id, sha256)
        try:
            with _part(path).open("rb") as file:
                is_right = hashlib.file_digest(file, "sha256").digest() == sha256
                if is_right:
                    os.fsync(file.fileno())
        except FileNotFoundError:
            # Another sender of the same blob was here first.
            return
        if not is_right:
            _part(path).unlink(missing_ok=True)
            raise DomovoiError(Code.BLOB_DAMAGED)
        with contextlib.suppress(FileNotFoundError):
            _part(path).replace(path)
        private_files.sync_folder(path.parent)

    def remove(self, account_id: bytes, sha256: bytes) -> None:
        """Remove the blob, whole or not."""
        path = self._path(account_id, sha256)
        path.unlink(missing_ok=True)
        _part(path).unlink(missing_ok=True)

    def stored(self, account_id: bytes) -> Iterator[tuple[bytes, int]]:
        """Yield the hash of every file of the account, whole or not, and its size in bytes."""
        for path in sorted((self._folder / account_id.hex()).glob("??/*")):
            with contextlib.suppress(FileNotFoundError, ValueError):
                yield bytes.fromhex(path.name.removesuffix(_PART)), path.stat().st_size

    def _path(self, account_id: bytes, sha256: bytes) -> Path:
        name = sha256.hex()
        return self._folder / account_id.hex() / name[:2] / name


def _part(path: Path) -> Path:
    return path.with_name(path.name + _PART)
