"""Which server this PC was paired with, in `<data>/node/server.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from shared import private_files
from shared.errors import StartupError
from shared.jws import base64url, from_base64url, public_key_from

if TYPE_CHECKING:
    from pathlib import Path


class PairedServer(Struct, frozen=True):
    """The server's address, and in base64url the root key that was there when a person compared the digits."""

    url: str
    root: str

    @property
    def root_key(self) -> bytes:
        """The raw root key, 32 bytes."""
        return from_base64url(self.root)


def paired_server(data: Path) -> PairedServer | None:
    """Return the server that this data folder's node was paired with, if any. Raises StartupError."""
    path = _path(data)
    try:
        paired = msgspec.json.decode(path.read_bytes(), type=PairedServer)
        public_key_from(paired.root_key)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StartupError(f"{path} can't be read ({error.strerror}). Give yourself permission to it.") from error
    except ValueError as error:  # msgspec's errors too
        raise StartupError(
            f"{path}, which says with what server this PC is paired, is damaged. Pair it again: domovoi node pair."
        ) from error
    return paired


def remember_server(data: Path, url: str, root: bytes) -> None:
    """Keep which server this is, and pin its root key (rule K7)."""
    path = _path(data)
    private_files.make_folder(path.parent)
    private_files.replace(path, msgspec.json.encode(PairedServer(url, base64url(root))))


def _path(data: Path) -> Path:
    return data / "node" / "server.json"
