"""Keys with which other programs on this PC may use the OpenAI-compatible API. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from inference_node import clock, private_files
from shared.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PREFIX = "domovoi-"
_KEY_BYTES = 32


class ApiKey(Struct, frozen=True):
    """A key as it is kept. `sha256` is hex; a random key of 256 bits needs no slower hash."""

    name: str
    sha256: str
    created_ms: int


class ApiKeys:
    """The file `<data>/node/api-keys`. Read at each use, so that the command may change it while the node runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def list(self) -> list[ApiKey]:
        """Return the keys, oldest first. Raises StartupError when the file can't be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[ApiKey])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as error:
            raise StartupError(f"{self._path} can't be read ({error}). Move it away and make new keys.") from error

    def create(self, name: str) -> str:
        """Make a key and return it; it is shown this once. Raises ValueError when the name is taken."""
        keys = self.list()
        if any(key.name == name for key in keys):
            raise ValueError(f"there is a key named {name}")
        secret = PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        self._write([*keys, ApiKey(name, _hash(secret), clock.now_ms())])
        return secret

    def revoke(self, name: str) -> bool:
        """Take a key back. Returns False when there is none of that name."""
        keys = self.list()
        kept = [key for key in keys if key.name != name]
        self._write(kept)
        return len(kept) < len(keys)

    def find(self, secret: str) -> ApiKey | None:
        """Return the key that this is, or None."""
        digest = _hash(secret)
        return next((key for key in self.list() if hmac.compare_digest(key.sha256, digest)), None)

    def _write(self, keys: Sequence[ApiKey]) -> None:
        private_files.make_folder(self._path.parent)
        private_files.replace(self._path, msgspec.json.encode(keys))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
