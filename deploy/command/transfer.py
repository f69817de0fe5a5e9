"""`domovoi export` and `domovoi import`: one account's data in the open format of docs/export.md."""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.console import Console

from deploy.command.archive import Archive, ArchiveError, Manifest, write_archive
from inference_node.log import replica
from inference_node.log.database import Database
from inference_node.log.exchange import Exchange
from inference_node.server.account_api import AccountApi
from inference_node.server.server_api import Unreachable
from shared import values
from shared.change import AttachmentField, EntityType
from shared.errors import Code, DomovoiError, StartupError
from shared.limits import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiosqlite import Connection

    from deploy.command.configuration import Configuration
    from shared.wire import Session

console = Console()
DEVICE_NAME = "domovoi export and import"
# Changes that are taken in at a time.
CHUNK = 500


class _Account(NamedTuple):
    """An account on a server, all of it read into a replica."""

    api: AccountApi
    session: Session
    database: Database
    exchange: Exchange

    @property
    def account_id(self) -> bytes:
        return bytes.fromhex(self.session.account_id)


class _OneLogin:
    """The tokens of a session that lasts as long as the command."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def token(self, account_id: bytes, refused: str | None = None) -> str | None:
        """Return the token, until it is refused."""
        return None if refused or account_id.hex() != self._session.account_id else self._session.access_token

    async def refresh(self, forked: Sequence[bytes] = ()) -> None:
        """A device that was made a moment ago has no other history."""
        raise DomovoiError(Code.DEVICE_FORKED)


def run_export(settings: Configuration, username: str, file: Path) -> None:
    """Ask for the password, and write the file. Raises StartupError, DomovoiError."""
    manifest = asyncio.run(_export(settings, username, _password(), file))
    console.print(f"{manifest.changes} changes and {manifest.blobs} files are in {file}.", soft_wrap=True)


def run_import(settings: Configuration, username: str, file: Path) -> None:
    """Ask for the password, and read the file. Raises StartupError, DomovoiError."""
    count, blobs = asyncio.run(_import(settings, username, _password(), file))
    console.print(f"{count} changes and {blobs} files were new.", soft_wrap=True)


async def _export(settings: Configuration, username: str, password: str, file: Path) -> Manifest:
    async with _account(settings, username, password) as account:
        manifest = Manifest(account.session.username, account.session.account_id, time.time_ns() // 1_000_000)
        token = account.session.access_token
        async with account.database.transaction() as connection:
            cells = replica.cells(connection, account.account_id)
            blobs = await _blobs(connection, account.account_id)
            return await write_archive(
                file, manifest, cells, blobs, lambda sha256: account.api.read_blob(token, sha256)
            )


async def _import(settings: Configuration, username: str, password: str, file: Path) -> tuple[int, int]:
    """Return how many changes and how many files were new."""
    try:
        with Archive(file) as archive:
            async with _account(settings, username, password) as account:
                blobs = 0
                token = account.session.access_token
                # Files first: an attachment must never name what is not there.
                for sha256, size in archive.blobs():
                    if not await account.api.has_blob(token, sha256):
                        with archive.blob(sha256) as content:
                            await account.api.send_blob(token, sha256, content, size)
                        blobs += 1
                return await _offer(account, archive), blobs
    except ArchiveError as error:
        raise StartupError(f"{file} can't be read: {error}. Take a file that domovoi export has written.") from error


async def _offer(account: _Account, archive: Archive) -> int:
    # A damaged line is found before the first one is taken in.
    for _ in archive.changes():
        pass
    count = 0
    changes = archive.changes()
    while chunk := list(itertools.islice(changes, CHUNK)):
        async with account.database.transaction() as connection:
            count += await replica.offer(connection, account.account_id, chunk)
    await account.exchange.run()
    return count


async def _blobs(connection: Connection, account_id: bytes) -> list[bytes]:
    """Return the hashes that attachments name."""
    fields = await replica.values_of(connection, account_id, EntityType.ATTACHMENT, AttachmentField.BLOB)
    named = {values.decode(value, bytes) for value in fields}
    return sorted(sha256 for sha256 in named if sha256 is not None and len(sha256) == HASH_BYTES)


@asynccontextmanager
async def _account(settings: Configuration, username: str, password: str) -> AsyncIterator[_Account]:
    """Log in as a device of its own, read everything, and disconnect the device at the end. Raises StartupError."""
    url = settings.server_url or settings.local_url
    api = AccountApi(url)
    try:
        session = await api.log_in_as(username, password, DEVICE_NAME)
        try:
            with tempfile.TemporaryDirectory(prefix="domovoi-") as folder:
                database = await Database.open(Path(folder) / "account.db")
                try:
                    account_id = bytes.fromhex(session.account_id)
                    offset_ms = session.server_ms - time.time_ns() // 1_000_000
                    async with database.transaction() as connection:
                        await replica.serve(connection, account_id, bytes.fromhex(session.device_id), offset_ms)
                    exchange = Exchange(account_id, database, api, _OneLogin(session))
                    await exchange.run()
                    yield _Account(api, session, database, exchange)
                finally:
                    await database.close()
        finally:
            with suppress(Unreachable, DomovoiError):
                await api.disconnect(session.access_token, session.device_id)
    except Unreachable as error:
        raise StartupError(
            f"The server at {url} does not answer ({error}). Start it, or name it: --server-url."
        ) from error
    finally:
        await api.close()


def _password() -> str:
    """Ask a person, or read a line from a program."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True))
    return sys.stdin.readline().rstrip("\r\n")
