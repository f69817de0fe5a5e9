"""Files that only their owner may read, written so that a power cut leaves the old or the new, never half."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make the folder, readable by its owner alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def create(path: Path, content: bytes) -> None:
    """Write a new file (0600). Raises FileExistsError when it is there already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """Write the file (0600), replacing an older one in one step."""
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    create(partial, content)
    partial.replace(path)
