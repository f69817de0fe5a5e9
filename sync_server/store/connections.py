"""Connections of `databases`, and keeping those open that are dear to open."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from databases.core import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import databases

    from sync_server.store.dialect import Dialect

# Each is a thread and three files with SQLite. Ten thousand devices that come back at once wait for their turn: as many
# connections would be more than there are file descriptors, and slower.
MAX_OPEN = 32
# What a burst opened beyond this is closed after use.
MAX_IDLE = 4


class Connections:
    """Hands out connections, each to one user at a time."""

    def __init__(self, database: databases.Database, dialect: Dialect) -> None:
        self._database = database
        self._dialect = dialect
        self._idle: list[Connection] = []
        self._idle_place: object = None
        self._may_open = asyncio.Semaphore(MAX_OPEN)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """Lend a connection outside any transaction, when there is one. Raises what the driver raises."""
        async with self._may_open, self._lent() as connection:
            yield connection

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        place = self._dialect.place()
        if place != self._idle_place:
            await self.close()
            self._idle_place = place
        connection = self._idle.pop() if self._idle else await self._opened()
        is_sound = False
        try:
            yield connection
            # Only now: after an error nobody knows in which state it is, and a cancelled statement may still run.
            is_sound = True
        finally:
            if is_sound and self._may_keep(place):
                self._idle.append(connection)
            else:
                await connection.__aexit__()

    async def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            with suppress(Exception):
                await self._idle.pop().__aexit__()

    def _may_keep(self, place: object) -> bool:
        is_current = place is not None and place == self._idle_place and self._database.is_connected
        return is_current and len(self._idle) < MAX_IDLE

    async def _opened(self) -> Connection:
        # Not `database.connection()`, which is one for each task for as long as the task uses it.
        connection = await Connection(self._database, self._database._backend).__aenter__()
        # Here, not where the driver opens it: aiosqlite ends the thread of a connection that failed to open without
        # waiting for it, and it would report to an event loop that may be gone.
        try:
            await self._dialect.tune(connection.raw_connection)
        except BaseException:
            await connection.__aexit__()
            raise
        return connection
