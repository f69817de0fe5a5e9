"""The one-time code for the first account: in the log, and in `<data>/setup-code` until it is used."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import select

from shared import private_files
from shared.errors import Code, DomovoiError
from sync_server.accounts.one_time_codes import equal, new_code
from sync_server.store.database import Connection, Database, DuplicateKey
from sync_server.store.tables import server_setting

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

# 60 bits, and tries are slowed down.
GROUPS = 3
CLAIMED = "claimed"


class SetupCode:
    """Whether this server has its first account, and what making it takes. The flag is in the database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def prepare(self, database: Database) -> None:
        """Make the code if this server has no account yet. Raises OSError."""
        if await is_claimed(database):
            self.remove()
            return
        code = private_files.create_once(self._path, f"{new_code(GROUPS)}\n".encode()).decode("ascii").strip()
        log.info("setup code for the first account: %s (also in %s)", code, self._path)

    def check(self, given: str | None) -> None:
        """Raise DomovoiError setup_code_wrong unless it is the code. An absent file accepts nothing."""
        try:
            expected = self._path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DomovoiError(Code.SETUP_CODE_WRONG) from error
        if given is None or not equal(given, expected):
            raise DomovoiError(Code.SETUP_CODE_WRONG)

    async def claim(self, connection: Connection) -> None:
        """Set the flag in the transaction that makes the first account. Raises setup_code_wrong if it is set."""
        try:
            await connection.run(server_setting.insert().values(name=CLAIMED, value="yes"))
        except DuplicateKey as error:
            raise DomovoiError(Code.SETUP_CODE_WRONG, "The first account was made just now. Ask its owner.") from error

    def remove(self) -> None:
        """Remove the file: the code has been used."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the used setup code can't be removed: %s", error)


async def is_claimed(database: Database) -> bool:
    """Say whether the first account has been made."""
    return await database.one(select(server_setting).where(server_setting.c.name == CLAIMED)) is not None
