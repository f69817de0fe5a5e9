"""`domovoi users`: who may come in."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.command import configuration
from deploy.command.server_database import server_database
from sync_server.accounts import invitations

if TYPE_CHECKING:
    from deploy.command.configuration import Configuration
    from shared.invitation_wire import Invitation

application = typer.Typer(no_args_is_help=True)
console = Console()

Data = Annotated[Path | None, typer.Option(help="Data folder of the server.")]


@application.command("invite")
def invite(data: Data = None) -> None:
    """Print a link with which one more person can make an account. It works once, for seven days."""
    settings = configuration.load({"data": data})
    code = asyncio.run(_invite(settings))
    address = settings.public_url or settings.local_url
    console.print(f"{address}/welcome?invitation={code}", soft_wrap=True, highlight=False)


@application.command("list")
def list_invitations(data: Data = None) -> None:
    """Show the invitations, and which were used."""
    table = Table("made", "good until", "is")
    for made in asyncio.run(_invitations(configuration.load({"data": data}))):
        table.add_row(_day(made.created_ms), _day(made.expires_ms), made.stage)
    console.print(table)


async def _invite(settings: Configuration) -> str:
    async with server_database(settings) as database:
        return (await invitations.invite(database)).code


async def _invitations(settings: Configuration) -> list[Invitation]:
    async with server_database(settings) as database:
        return await invitations.list_invitations(database)


def _day(milliseconds: int) -> str:
    return datetime.datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%d %b %Y, %H:%M")
