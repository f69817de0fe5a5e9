"""The server's database, for commands that work in it directly."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from shared.errors import DomovoiError, StartupError
from sync_server.store.database import Database
from sync_server.store.dialect import dialect_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.command.configuration import Configuration


@asynccontextmanager
async def server_database(settings: Configuration) -> AsyncIterator[Database]:
    """Open the database. Raises StartupError when it can't be used."""
    dialect = dialect_for(settings.database_url, settings.data)
    database = Database(dialect)
    try:
        await database.open()
        yield database
    except DomovoiError as error:
        raise StartupError(f"The server's database can't be used. {dialect.advice} Has the server run here?") from error
    finally:
        await database.close()
