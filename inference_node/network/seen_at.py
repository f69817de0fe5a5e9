"""Where the server sees this PC at: asked of nobody, it says so itself; kept for `domovoi doctor`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from inference_node import clock
from shared import private_files

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


class SeenAt(Struct, frozen=True):
    """The server at `server_url` saw this PC at the IP address `address` when it last let it in, at `at_ms`."""

    server_url: str
    address: str
    at_ms: int


def seen_at(path: Path) -> SeenAt | None:
    """Return what the server has said last, if that is known."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=SeenAt)
    except (OSError, ValueError):
        # Never met, or written by another version: it is said anew each time the node connects.
        return None


def keep_seen_at(path: Path, server_url: str, address: str) -> None:
    """Keep what the server says now."""
    try:
        private_files.make_folder(path.parent)
        private_files.replace(path, msgspec.json.encode(SeenAt(server_url, address, clock.now_ms())))
    except OSError as error:
        log.warning("where the server sees this PC can't be kept: %s", error)
