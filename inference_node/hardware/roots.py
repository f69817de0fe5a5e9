"""Where Linux shows its hardware. On other systems the folders are not there, and psutil is asked instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Roots:
    """The two folders everything is read from."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")


THIS_MACHINE = Roots()


def text(path: Path) -> str:
    """Return a small file's text without the space around it; "" when it can't be read."""
    try:
        return path.read_text("utf-8", "replace").strip(" \t\r\n\0")
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """Return the count that a file holds; None when it holds none: "max", "-1", or no text at all."""
    content = text(path)
    return int(content) if content.isascii() and content.isdigit() else None
