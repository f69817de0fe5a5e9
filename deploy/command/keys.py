"""`domovoi keys`: with which other programs on this PC may use the model, and which the server signs tokens with."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.command import configuration
from inference_node.endpoints.api_keys import ApiKeys
from shared.errors import StartupError
from sync_server.accounts import signing_keys

application = typer.Typer(no_args_is_help=True)
console = Console()

Data = Annotated[Path | None, typer.Option(help="Data folder of the node.")]


@application.command("create")
def create(name: str, data: Data = None) -> None:
    """Make a key and show it, this once. It opens http://localhost:8461/v1 like OpenAI's API."""
    keys = _keys(data)
    if any(key.name == name for key in keys.list()):
        raise StartupError(f"There is a key named {name} already. Revoke it first: domovoi keys revoke.")
    console.print(keys.create(name), highlight=False, soft_wrap=True)


@application.command("list")
def list_keys(data: Data = None) -> None:
    """Show the keys, those that were made in the app too."""
    keys = _keys(data)
    table = Table("id", "name", "begins", "made", "last used")
    for key in keys.list():
        table.add_row(key.id, key.name, key.prefix, _date(key.created_ms), _date(keys.last_used_ms(key)))
    console.print(table)


@application.command("revoke")
def revoke(key: Annotated[str, typer.Argument(help="Its name, or its id.")], data: Data = None) -> None:
    """Take a key back; programs that use it are refused from then on."""
    keys = _keys(data)
    found = [kept for kept in keys.list() if key in {kept.id, kept.name}]
    if not found:
        raise StartupError(f"There is no key {key}. See them all: domovoi keys list.")
    if len(found) > 1:
        raise StartupError(f"There are {len(found)} keys named {key}. Take the id of one: domovoi keys list.")
    keys.revoke(found[0])


@application.command("rotate")
def rotate(
    data: Annotated[Path | None, typer.Option(help="Data folder of the server.")] = None,
    at_once: Annotated[
        bool, typer.Option(help="Trust the key in use no more: every token given out before is refused from now on.")
    ] = False,
) -> None:
    """Have the server sign tokens with its next key. Nobody has to log in again."""
    signing_keys.rotate(configuration.load({"data": data}).data / "keys", at_once=at_once)
    console.print("The server signs with another key from now on; it need not be started again.", soft_wrap=True)


def _date(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "never"
    return datetime.datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%d %b %Y")


def _keys(data: Path | None) -> ApiKeys:
    return ApiKeys(configuration.load({"data": data}).data / "node" / "api-keys")
