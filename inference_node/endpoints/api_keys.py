"""Keys with which other programs on this PC may use the OpenAI-compatible API. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, structs

from inference_node import clock
from shared import private_files
from shared.errors import StartupError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "domovoi-"
# Of a secret this much may be shown, so that people know it again; the rest has 232 bits.
SHOWN = len(PREFIX) + 4
# The time of the last use is written down this often at most, seconds.
USE_EVERY_S = 60
_KEY_BYTES = 32
_ID_DIGITS = 16


class ApiKey(Struct, frozen=True):
    """A key as it is kept. `sha256` is hex; a random key of 256 bits needs no slower hash.

    `account` is the one that made it in the app, None for the command on this PC.
    """

    name: str
    prefix: str
    sha256: str
    created_ms: int
    account: str | None = None

    @property
    def id(self) -> str:
        """The name of the key's file."""
        return self.sha256[:_ID_DIGITS]


class ApiKeys:
    """The folder `<data>/node/api-keys`: a file for each key, so that the command and the node may both change it.

    Beside a key `<id>.json` lies `<id>.used`, whose time is that of the last use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list(self) -> list[ApiKey]:
        """Return the keys, oldest first. A file that is no key opens nothing."""
        found = [self._read(path) for path in self._folder.glob("*.json")]
        return sorted((key for key in found if key is not None), key=lambda key: (key.created_ms, key.id))

    def create(self, name: str, account: str | None = None) -> str:
        """Make a key and return its secret, which is shown this once. Raises StartupError where no keys can lie."""
        if self._folder.is_file():
            raise StartupError(f"{self._folder} is a file of an older version. Move it away and make new keys.")
        secret = PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        key = ApiKey(name, secret[:SHOWN], _hash(secret), clock.now_ms(), account)
        private_files.make_folder(self._folder)
        private_files.create(self._file(key.id), msgspec.json.encode(key))
        return secret

    def rename(self, key: ApiKey, name: str) -> ApiKey:
        """Give the key another name."""
        renamed = structs.replace(key, name=name)
        private_files.replace(self._file(key.id), msgspec.json.encode(renamed))
        return renamed

    def revoke(self, key: ApiKey) -> None:
        """Take a key back. Taking it back again changes nothing."""
        self._file(key.id).unlink(missing_ok=True)
        self._use_file(key.id).unlink(missing_ok=True)

    def find(self, secret: str) -> ApiKey | None:
        """Return the key that this is, or None."""
        digest = _hash(secret)
        key = self._read(self._file(digest[:_ID_DIGITS]))
        return key if key is not None and hmac.compare_digest(key.sha256, digest) else None

    def note_use(self, key: ApiKey) -> None:
        """Take note that the key is used now."""
        last_ms = self.last_used_ms(key)
        if last_ms is None or abs(time.time() - last_ms / 1000) > USE_EVERY_S:
            self._use_file(key.id).touch(mode=0o600)

    def last_used_ms(self, key: ApiKey) -> int | None:
        """Return when the key was last used, to the minute; None for a key that never was."""
        try:
            return self._use_file(key.id).stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            return None

    def _file(self, identifier: str) -> Path:
        return self._folder / f"{identifier}.json"

    def _use_file(self, identifier: str) -> Path:
        return self._folder / f"{identifier}.used"

    def _read(self, path: Path) -> ApiKey | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=ApiKey)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("the API key in %s can't be read (%s); make a new one: domovoi keys create", path, error)
            return None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
