"""Files in a simulated world: the server's real blobs on a real disk, whose power fails, and devices that send them."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from shared import values
from shared.change import AttachmentField, EntityType
from shared.errors import Code, DomovoiError
from sync_server.blobs.blob_files import BlobFiles
from tests.simulation.stores import Crashed

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from shared.change import Change
    from tests.simulation.server import Network
    from tests.simulation.stores import Fuse

MOST_BYTES = 900
PIECE_BYTES = 300
# How often a sender begins a file again before it leaves that for later.
TRIES = 12


class File(NamedTuple):
    """What a device sends."""

    sha256: bytes
    content: bytes


def named_file(change: Change) -> bytes | None:
    """Return the hash of the file that a change names, if it names one."""
    if (change.etype, change.field) != (EntityType.ATTACHMENT, AttachmentField.BLOB):
        return None
    return values.decode(change.value, bytes)


def new_file(rng: random.Random) -> File:
    """Return a file that nobody has."""
    content = rng.randbytes(rng.randrange(MOST_BYTES))
    return File(hashlib.sha256(content).digest(), content)


class SimulatedFiles(BlobFiles):
    """The server's folder of blobs. The process may end in the middle of any step."""

    def __init__(self, folder: Path, rng: random.Random, fuse: Fuse) -> None:
        super().__init__(folder)
        self._root = folder
        self._rng = rng
        self._fuse = fuse

    def write(self, account_id: bytes, sha256: bytes, offset: int, data: bytes) -> None:
        try:
            self._fuse.burn()
        except Crashed:
            super().write(account_id, sha256, offset, data[: self._rng.randint(0, len(data))])
            raise
        super().write(account_id, sha256, offset, data)

    def finish(self, account_id: bytes, sha256: bytes) -> None:
        self._fuse.burn()
        super().finish(account_id, sha256)
        self._fuse.burn()

    def remove(self, account_id: bytes, sha256: bytes) -> None:
        self._fuse.burn()
        super().remove(account_id, sha256)
        self._fuse.burn()

    def cut_power(self) -> None:
        """Lose some of what was written and is not on the disk for good."""
        for path in sorted(self._root.rglob("*.part")):
            os.truncate(path, self._rng.randint(0, path.stat().st_size))


async def send(network: Network, token: Callable[[], Any], file: File, rng: random.Random) -> bool:
    """Send a file from where it is, and say whether it is whole. Raises Unreachable, DomovoiError."""
    offset = 0
    for _ in range(TRIES):
        piece = file.content[offset : offset + rng.randint(1, PIECE_BYTES)]
        is_cut = rng.random() < 0.1
        try:
            state = await network.put_blob(await token(), file, offset, piece, is_cut=is_cut)
        except DomovoiError as error:
            if error.code is Code.BLOB_OFFSET:
                offset = int(error.problem().received or 0)
            elif error.code is Code.BLOB_DAMAGED:
                offset = 0
            elif not (error.code is Code.BAD_REQUEST and is_cut):
                raise
            continue
        if state.received == len(file.content):
            return True
        offset = state.received
    return False


async def pieces(piece: bytes, *, is_cut: bool) -> AsyncIterator[bytes]:
    """Yield the body of a request, or half of it."""
    half = len(piece) // 2
    yield piece[:half]
    if is_cut:
        raise DomovoiError(Code.BAD_REQUEST, "cut")
    yield piece[half:]
