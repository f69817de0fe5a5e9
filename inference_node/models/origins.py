"""Where model files came from: one record a file in `<models>/.origins`, written when a pull begins.

A record whose file is not there yet is a pull that was cut. A file that matches its finished record was checked when
it came; one without a record was put there by its owner.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from inference_node.file_lock import exclusive
from inference_node.models import download
from shared import private_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = ".origins"


class Origin(Struct, frozen=True):
    """`source` is a catalogue id or an address. `parts` are the files that a pull fills, `total` their bytes.

    `modified_ns` is the finished file's time; None while the pull goes on.
    """

    source: str
    sha256: str
    size: int
    parts: list[str]
    total: int
    modified_ns: int | None = None


@contextmanager
def lock(models: Path, name: str) -> Iterator[bool]:
    """Give True while this process alone fetches or removes that file, or False if another one does. Raises OSError."""
    for folder in (models.parent, models, models / FOLDER):
        private_files.make_folder(folder)
    with exclusive(models / FOLDER / f"{name}.lock") as is_ours:
        yield is_ours


def read(models: Path, name: str) -> Origin | None:
    """Return the record of a file; None where there is none that can be read."""
    try:
        return msgspec.json.decode(_path(models, name).read_bytes(), type=Origin)
    except (OSError, msgspec.MsgspecError):
        return None


def write(models: Path, name: str, origin: Origin) -> None:
    """Keep a record. Raises OSError."""
    private_files.make_folder(models / FOLDER)
    private_files.replace(_path(models, name), msgspec.json.encode(origin))


def forget(models: Path, name: str) -> None:
    """Drop the record of a file and what is left of its pull."""
    origin = read(models, name)
    for part in origin.parts if origin else []:
        download.forget(models / part)
    _path(models, name).unlink(missing_ok=True)


def unfinished(models: Path) -> dict[str, Origin]:
    """Return the pulls that were cut or still go on, by file name."""
    names = sorted(path.stem for path in (models / FOLDER).glob("*.json"))
    records = {name: read(models, name) for name in names}
    cut = {name: origin for name, origin in records.items() if origin and origin.modified_ns is None}
    return {name: origin for name, origin in cut.items() if not (models / name).is_file()}


def done(models: Path, origin: Origin) -> int:
    """Return how many bytes of an unfinished pull are there."""
    parts = [models / part for part in origin.parts]
    return sum(part.stat().st_size for part in parts if part.is_file())


def _path(models: Path, name: str) -> Path:
    return models / FOLDER / f"{name}.json"
