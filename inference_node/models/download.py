"""Downloading one file of known size and checksum, continued where it was cut off."""

from __future__ import annotations

import asyncio
import errno
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
# What a download leaves free, for databases and for everybody else on the disk.
SPARED_BYTES = 256 * 1024 * 1024
# How much comes between two looks at the free space.
LOOK_EVERY_BYTES = 32 * 1024 * 1024


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
    Raises DomovoiError: `download_failed` and `disk_full`, what came is kept; `model_damaged` when the server gives
    something else.
    """
    require_space(part.parent, artefact.size - _size(part))
    was_fresh = False
    while not was_fresh:
        was_fresh = _size(part) == 0
        await _fetch_all(client, url, artefact, part, progress)
        if await asyncio.to_thread(is_intact, part, artefact):
            return
        forget(part)
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
    """Raise DomovoiError `disk_full` unless `size` bytes and some to spare are free."""
    free = shutil.disk_usage(folder).free
    if free < size + SPARED_BYTES:
        raise DomovoiError(
            Code.DISK_FULL,
            f"{size / 1e6:.0f} MB are to come into {folder}, where {free / 1e6:.0f} MB are free and "
            f"{SPARED_BYTES / 1e6:.0f} MB stay free for the rest. Make room there, then pull again; what came is kept.",
        )


async def size_of(client: httpx.AsyncClient, url: str) -> int:
    """Ask how many bytes the file at an address has. Raises DomovoiError `download_failed`."""
    try:
        async with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            response.raise_for_status()
            return int(response.headers["Content-Length"])
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DomovoiError(
            Code.DOWNLOAD_FAILED, f"{url} can't be fetched ({error}). Check the address and the network."
        ) from error
    except (KeyError, ValueError) as error:
        raise DomovoiError(Code.DOWNLOAD_FAILED, f"{url} does not say how large the file is.") from error


async def _fetch_all(client: httpx.AsyncClient, url: str, artefact: Artefact, part: Path, progress: Progress) -> None:
    tries = 0
    while _size(part) != artefact.size:
        before = _size(part)
        try:
            await _fetch(client, url, artefact, part, progress)
            # A response that ends early without an error is a cut as well.
            reason = "the connection was cut"
        except _Restart:
            forget(part)
            reason = "the server's file changed"
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
        except OSError as error:
            raise disk_error(error, part) from error
        tries = 0 if _size(part) > before else tries + 1
        if tries == MOST_TRIES:
            raise DomovoiError(
                Code.DOWNLOAD_FAILED,
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
                if offset // LOOK_EVERY_BYTES != (offset + len(chunk)) // LOOK_EVERY_BYTES:
                    require_space(part.parent, artefact.size - offset)
                await asyncio.to_thread(file.write, chunk)
                offset += len(chunk)
                if offset > artefact.size:
                    raise _Restart
                progress(offset, artefact.size)


def disk_error(error: OSError, path: Path) -> DomovoiError:
    """Return what to raise when a file can't be written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DomovoiError(Code.DISK_FULL)
    return DomovoiError(
        Code.DISK_FULL, f"{path} can't be written to ({error.strerror}). Check the disk and the folder."
    )


def forget(part: Path) -> None:
    """Drop what has come of a file, and how it came."""
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


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
