"""`domovoi server restored`: what an operator does after putting a backup of the server back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rich.console import Console

from deploy.command.server_database import server_database
from sync_server.accounts import signing_keys
from sync_server.log import histories

if TYPE_CHECKING:
    from deploy.command.configuration import Configuration

console = Console()


def restored(settings: Configuration) -> None:
    """Do it, and say what follows."""
    count = asyncio.run(_begin(settings))
    # Tokens that were given out since the backup must not open anything either.
    signing_keys.rotate(settings.data / "keys", at_once=True)
    console.print(
        f"{count} account(s) have a new history, and everybody has to log in again. Start the server now; devices and "
        "PCs then bring what the backup does not have.",
        soft_wrap=True,
        highlight=False,
    )


async def _begin(settings: Configuration) -> int:
    async with server_database(settings) as database:
        return await histories.begin_histories(database)
