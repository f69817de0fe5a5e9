"""Files that only their owner may read, written so that a crash leaves the old content or the new."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def make_private_folder(path: Path) -> None:
    """Make a folder, with its parents, that its owner alone may enter. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def create_once(path: Path, content: bytes) -> bytes:
    """Write the file unless it exists, and return what it holds. Raises OSError.

    Linking the finished file under its name is atomic and exclusive: of two processes one wins, and no one
    ever reads half a file.
    """
    with _draft(path, content) as draft, contextlib.suppress(FileExistsError):
        os.link(draft, path)
    return path.read_bytes()


def replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another, at once or not at all. Raises OSError."""
    with _draft(path, content) as draft:
        draft.replace(path)


@contextlib.contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, _CREATE, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
