"""Keys with which other programs on this PC may use the OpenAI-compatible API. Only hashes are stored."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from inference_node.private_files import make_private_folder, replace
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "dmv-"
MAX_NAME_CHARACTERS = 80


class ApiKey(Struct, frozen=True):
    """A key as it is kept: `sha256` of the whole key in hex."""

    key_id: str
    name: str
    sha256: str
    created_ms: int


class ApiKeys:
    """The file of keys; the command changes it while the node runs, so it is read again when it has changed."""

    def __init__(self, data: Path) -> None:
        self._path = data / "node" / "api-keys"
        self._stamp: tuple[int, int] | None = None
        self._keys: list[ApiKey] = []

    def create(self, name: str) -> str:
        """Make a key and return it; it can't be shown again. Raises DomovoiError bad_request, OSError."""
        if not name.strip() or len(name) > MAX_NAME_CHARACTERS:
            raise DomovoiError(Code.BAD_REQUEST, f"A key's name has 1 to {MAX_NAME_CHARACTERS} characters.")
        key = PREFIX + secrets.token_urlsafe(32)
        new = ApiKey(secrets.token_hex(4), name.strip(), _hash(key), time.time_ns() // 1_000_000)
        self._save([*self.all(), new])
        return key

    def all(self) -> list[ApiKey]:
        """Return the keys, oldest first. Raises OSError, DomovoiError internal for a file that can't be read."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return []
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            try:
                self._keys = msgspec.json.decode(self._path.read_bytes(), type=list[ApiKey])
            except msgspec.MsgspecError as error:
                raise DomovoiError(Code.INTERNAL, f"{self._path} can't be read. Move it away.") from error
            self._stamp = stamp
        return list(self._keys)

    def revoke(self, key_id: str) -> None:
        """Remove a key. Raises DomovoiError not_found."""
        keys = self.all()
        kept = [key for key in keys if key.key_id != key_id]
        if len(kept) == len(keys):
            raise DomovoiError(Code.NOT_FOUND, "There is no key with this id.")
        self._save(kept)

    def is_valid(self, key: str) -> bool:
        """Say whether the key opens the API."""
        presented = _hash(key)
        # Hashes of random keys: how long the comparison takes tells nothing about the key.
        return any(secrets.compare_digest(presented, known.sha256) for known in self.all())

    def _save(self, keys: list[ApiKey]) -> None:
        make_private_folder(self._path.parent)
        replace(self._path, msgspec.json.encode(keys))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
