"""Files that only their owner may read, written so that a power cut leaves the old or the new, never half."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make the folder (0700) where it is missing. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        folder.chmod(0o700)


def create(path: Path, content: bytes) -> None:
    """Write a new file (0600). Raises FileExistsError when it is there already, OSError.

    The finished file is linked under its name, which is atomic and exclusive: of several processes that start at
    once one wins, and none ever reads half a file.
    """
    draft = _draft(path, content)
    try:
        os.link(draft, path)
        sync_folder(path.parent)
    finally:
        draft.unlink()


def create_once(path: Path, content: bytes) -> bytes:
    """Write the file (0600) unless it exists; return what it holds. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        create(path, content)
    return path.read_bytes()


def replace(path: Path, content: bytes) -> None:
    """Write the file (0600), replacing an older one in one step. Raises OSError."""
    _draft(path, content).replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that names made in the folder outlive a power cut. Raises OSError."""
    if os.name != "posix":  # Windows can't open a folder, and needs no such flush
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _draft(path: Path, content: bytes) -> Path:
    """Write a file beside that one, safely on the disk."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
