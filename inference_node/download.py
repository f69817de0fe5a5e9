"""Downloading one file of known size and checksum, continued where it was cut off."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
from msgspec import Struct

from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from pathlib import Path

Progress = Callable[[int, int], None]

log = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(30.0)
# Tries in a row that bring nothing new. The pauses between them are 1, 2, 4, 8 s.
MOST_TRIES = 5
FIRST_PAUSE_S = 1.0
BLOCK_BYTES = 1024 * 1024


class Artefact(Struct, frozen=True):
    """A file that is known before it is fetched."""

    name: str
    size: int
    sha256: str


class _Restart(Exception):
    """What is on disk does not continue what the server has."""


async def download(client: httpx.AsyncClient, url: str, artefact: Artefact, part: Path, progress: Progress) -> None:
    """Fetch `url` into `part` until it is the artefact, byte for byte.

    `part` may be left by an earlier try, cut at any byte. `progress` is called with bytes done and in all.
    Raises DomovoiError: `model_missing` when the network or the disk fails, what came is kept; `model_damaged` when
    the server gives something else.
    """
    require_space(part.parent, artefact.size - _size(part))
    was_fresh = False
    while not was_fresh:
        was_fresh = _size(part) == 0
        await _fetch_all(client, url, artefact, part, progress)
        if await asyncio.to_thread(is_intact, part, artefact):
            return
        _forget(part)
        log.warning("what came of %s has the wrong checksum", artefact.name)
    raise DomovoiError(
        Code.MODEL_DAMAGED, f"{artefact.name} from {httpx.URL(url).host} is not the file that it should be."
    )


def is_intact(path: Path, artefact: Artefact) -> bool:
    """Compare a file's size and SHA-256. Reads all of it: call it in a thread."""
    if _size(path) != artefact.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == artefact.sha256


def require_space(folder: Path, size: int) -> None:
    """Raise DomovoiError `model_missing` unless `size` bytes and a little more are free."""
    free = shutil.disk_usage(folder).free
    if free < size + BLOCK_BYTES:
        raise DomovoiError(
            Code.MODEL_MISSING,
            f"The model needs {size / 1e6:.0f} MB in {folder}, where {free / 1e6:.0f} MB are free. Make room there.",
        )


async def _fetch_all(client: httpx.AsyncClient, url: str, artefact: Artefact, part: Path, progress: Progress) -> None:
    tries = 0
    while _size(part) != artefact.size:
        before = _size(part)
        try:
            await _fetch(client, url, artefact, part, progress)
            # A response that ends early without an error is a cut as well.
            reason = "the connection was cut"
        except _Restart:
            _forget(part)
            reason = "the server's file changed"
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
        tries = 0 if _size(part) > before else tries + 1
        if tries == MOST_TRIES:
            raise DomovoiError(
                Code.MODEL_MISSING,
                f"{artefact.name} could not be downloaded from {httpx.URL(url).host} ({reason}). "
                "Check the network and start again; what came is kept.",
            )
        if tries:
            await asyncio.sleep(FIRST_PAUSE_S * 2 ** (tries - 1))


async def _fetch(client: httpx.AsyncClient, url: str, artefact: Artefact, part: Path, progress: Progress) -> None:
    """Continue the file with one request, or begin it again where the server can't continue."""
    offset = _size(part)
    if offset > artefact.size:
        raise _Restart
    # Ranges count bytes as they are stored, so nothing may be compressed on the way.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if tag := _tag(part):
            headers["If-Range"] = tag
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _Restart
        response.raise_for_status()
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            if response.headers.get("Content-Range") != f"bytes {offset}-{artefact.size - 1}/{artefact.size}":
                raise _Restart
        else:
            offset = 0
            _tag_file(part).write_text(response.headers.get("ETag", ""), "utf-8")
        with part.open("ab" if offset else "wb") as file:
            async for chunk in response.aiter_bytes(BLOCK_BYTES):
                file.write(chunk)
                offset += len(chunk)
                if offset > artefact.size:
                    raise _Restart
                progress(offset, artefact.size)


def finish(part: Path, target: Path | None = None) -> None:
    """Move a complete download to its place, or drop it, and forget how it came."""
    if target is None:
        part.unlink(missing_ok=True)
    else:
        part.replace(target)
    _tag_file(part).unlink(missing_ok=True)


def _forget(part: Path) -> None:
    finish(part)


def _tag(part: Path) -> str:
    try:
        tag = _tag_file(part).read_text("utf-8")
    except FileNotFoundError:
        return ""
    # A weak tag does not promise the same bytes, and If-Range must not carry it (RFC 9110, 13.1.5).
    return "" if tag.startswith("W/") else tag


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
