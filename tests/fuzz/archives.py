"""Files for `domovoi import`: a whole zip, or what stands in an entry of a good one, by the first byte."""

from __future__ import annotations

import atexit
import tempfile
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.command.archive import Archive, ArchiveError
from shared.limits import CLOCK_BYTES, MAX_BLOB_BYTES

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

ENTRIES = ("changes.jsonl", "manifest.json", "blobs/" + "ab" * 32)
MANIFEST = b'{"username":"A","account_id":"00","exported_ms":1,"format":"domovoi-export","version":1}'
PIECE = 65_536
# An archive of a hostile size is read in pieces; a few are enough to see how.
MOST_PIECES = 16


def make() -> Target:
    """Return what reads."""
    folder = tempfile.TemporaryDirectory(prefix="domovoi-fuzz-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "export.zip"

    def read(data: bytes) -> None:
        write(path, data)
        with suppress(ArchiveError):
            read_all(path)

    return read


def write(path: Path, data: bytes) -> None:
    """Write the file that the bytes describe."""
    if not data or data[0] >= len(ENTRIES):
        path.write_bytes(data)
        return
    entries = {"manifest.json": MANIFEST, "changes.jsonl": b"", ENTRIES[data[0]]: data[1:]}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def read_all(path: Path) -> None:
    """Read as an import does. Raises ArchiveError."""
    # zipfile itself warns of two entries of a name.
    with warnings.catch_warnings(action="ignore"), Archive(path) as archive:
        for change in archive.changes():
            assert len(change.clk) == CLOCK_BYTES
        for sha256, size in archive.blobs():
            assert size <= MAX_BLOB_BYTES
            with archive.blob(sha256) as content:
                for _ in range(MOST_PIECES):
                    if not content.read(PIECE):
                        break
