"""The file that `domovoi export` writes: a zip of JSON Lines and blobs, described in docs/export.md."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Struct

from shared.change import Change
from shared.identifiers import from_hex
from shared.limits import HASH_BYTES, MAX_BLOB_BYTES, MAX_VALUE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

FORMAT = "domovoi-export"
VERSION = 1
MANIFEST = "manifest.json"
CHANGES = "changes.jsonl"
BLOBS = "blobs/"
# A manifest has some hundred bytes; a line holds a value twice, once of it with escapes.
MOST_MANIFEST_BYTES = 64 * 1024
MOST_LINE_BYTES = 16 * MAX_VALUE_BYTES
# What reading a file of a stranger's raises. RuntimeError: an entry is encrypted, is compressed in some unknown way,
# or nests deeper than anybody reads.
_DAMAGE = (OSError, EOFError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


class ArchiveError(Exception):
    """The file is not an export, or is damaged; the message says in what."""


class Manifest(Struct, frozen=True):
    """What the file is, whose, and how much it holds. `exported_ms` is in milliseconds since 1970."""

    username: str
    account_id: str
    exported_ms: int
    changes: int = 0
    blobs: int = 0
    format: str = FORMAT
    version: int = VERSION


class Line(Struct, frozen=True):
    """One cell. Identifiers and the clock are hex, `value` is base64; `reads` is the value for people and programs."""

    clk: str
    etype: int
    eid: str
    field: int
    scope: str
    kid: int
    value: bytes
    reads: Any = None


async def write_archive(
    path: Path,
    manifest: Manifest,
    cells: AsyncIterator[Change],
    blobs: Iterable[bytes],
    read: Callable[[bytes], AsyncIterator[bytes]],
) -> Manifest:
    """Write the file cell by cell and return its manifest. An existing file is replaced only when all is written."""
    draft = path.with_name(path.name + ".part")
    changes = count = 0
    try:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open(CHANGES, "w") as lines:
                async for cell in cells:
                    changes += 1
                    lines.write(msgspec.json.encode(_line(cell)) + b"\n")
            for count, sha256 in enumerate(blobs, 1):  # noqa: B007  # the last one is how many there are
                with archive.open(BLOBS + sha256.hex(), "w") as content:
                    async for piece in read(sha256):
                        content.write(piece)
            manifest = msgspec.structs.replace(manifest, changes=changes, blobs=count)
            archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return manifest


class Archive:
    """An export to read. A context manager; opening and reading raise ArchiveError."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            with self._zip.open(MANIFEST) as content:
                text = content.read(MOST_MANIFEST_BYTES)
            manifest = msgspec.json.decode(text, type=Manifest)
        except _DAMAGE as error:
            raise ArchiveError(str(error)) from error
        if (manifest.format, manifest.version) != (FORMAT, VERSION):
            raise ArchiveError(f"it is of the format {manifest.format} {manifest.version}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def changes(self) -> Iterator[Change]:
        """Yield the cells."""
        try:
            with self._zip.open(CHANGES) as lines:
                number = 0
                while text := lines.readline(MOST_LINE_BYTES):
                    number += 1
                    yield _change(text, number)
        except _DAMAGE as error:
            raise ArchiveError(str(error)) from error

    def blobs(self) -> Iterator[tuple[bytes, int]]:
        """Yield hash and size of every file. What is named otherwise is passed over."""
        for entry in self._zip.infolist():
            name = entry.filename.removeprefix(BLOBS)
            if name == entry.filename or entry.file_size > MAX_BLOB_BYTES:
                continue
            try:
                yield from_hex(name, HASH_BYTES), entry.file_size
            except ValueError:
                continue

    @contextmanager
    def blob(self, sha256: bytes) -> Iterator[BinaryIO]:
        """Open a file; it can seek. Reading it raises ArchiveError out of the context."""
        try:
            with self._zip.open(BLOBS + sha256.hex()) as content:
                yield content  # type: ignore[misc]  # an IO[bytes] by another name
        except _DAMAGE as error:
            raise ArchiveError(str(error)) from error


def _line(cell: Change) -> Line:
    try:
        reads = msgspec.msgpack.decode(cell.value)
        msgspec.json.encode(reads)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError):
        reads = None
    return Line(cell.clk.hex(), cell.etype, cell.eid.hex(), cell.field, cell.scope.hex(), cell.kid, cell.value, reads)


def _change(text: bytes, number: int) -> Change:
    try:
        line = msgspec.json.decode(text, type=Line)
        given = (line.clk, line.eid, line.scope)
        clk, eid, scope = (from_hex(identifier) for identifier in given)
        made = [clk, line.etype, eid, line.field, scope, line.kid, line.value]
        return msgspec.convert(made, Change)
    except (ValueError, RecursionError) as error:  # msgspec's errors too
        raise ArchiveError(f"line {number} of {CHANGES} is no change ({error})") from error
