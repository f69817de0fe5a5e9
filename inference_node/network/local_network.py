"""Whether the node may answer on the network at home: a choice of its owner's, off until it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared import private_files
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from pathlib import Path

_ON, _OFF = b"on", b"off"


class LocalNetwork:
    """A file of the node's, since the app may choose it too; `setting`, if it is made, wins over it."""

    def __init__(self, path: Path, setting: bool | None = None) -> None:
        self._path = path
        self._setting = setting

    @property
    def is_on(self) -> bool:
        """Whether the owner lets the node answer there."""
        if self._setting is not None:
            return self._setting
        try:
            return self._path.read_bytes().strip() == _ON
        except OSError:
            return False

    def switch(self, *, is_on: bool) -> None:
        """Remember the choice. Raises DomovoiError `local_network_fixed` where a setting says otherwise, OSError."""
        if self._setting is not None and self._setting != is_on:
            raise DomovoiError(Code.LOCAL_NETWORK_FIXED)
        private_files.make_folder(self._path.parent)
        private_files.replace(self._path, _ON if is_on else _OFF)
