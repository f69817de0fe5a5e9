"""`domovoi keys`: with which other programs on this PC may use the model."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.command import configuration
from inference_node.api_keys import ApiKeys
from shared.errors import StartupError

application = typer.Typer(no_args_is_help=True)
console = Console()

Data = Annotated[Path | None, typer.Option(help="Data folder of the node.")]


@application.command("create")
def create(name: str, data: Data = None) -> None:
    """Make a key and show it, this once. It opens http://localhost:8461/v1 like OpenAI's API."""
    try:
        console.print(_keys(data).create(name), highlight=False, soft_wrap=True)
    except ValueError as error:
        raise StartupError(f"There is a key named {name} already. Revoke it first: domovoi keys revoke.") from error


@application.command("list")
def list_keys(data: Data = None) -> None:
    """Show the keys' names."""
    table = Table("name", "made")
    for key in _keys(data).list():
        table.add_row(
            key.name, datetime.datetime.fromtimestamp(key.created_ms / 1000).astimezone().strftime("%d %b %Y")
        )
    console.print(table)


@application.command("revoke")
def revoke(name: str, data: Data = None) -> None:
    """Take a key back; programs that use it are refused from then on."""
    if not _keys(data).revoke(name):
        raise StartupError(f"There is no key named {name}. See them all: domovoi keys list.")


def _keys(data: Path | None) -> ApiKeys:
    return ApiKeys(configuration.load({"data": data}).data / "node" / "api-keys")
