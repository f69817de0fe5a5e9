"""`domovoi models`: the model files of this node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from deploy.command import configuration
from inference_node.models import ModelStore

if TYPE_CHECKING:
    from deploy.command.configuration import Configuration

application = typer.Typer(no_args_is_help=True)
console = Console()

Data = Annotated[Path | None, typer.Option(help="Data folder.")]


@application.command("list")
def list_models(data: Data = None) -> None:
    """Show the models in the models folder."""
    store = _store(configuration.load({"data": data}))
    table = Table("model", "size", "file")
    for model in store.list():
        table.add_row(model.name, f"{model.size / 1e6:.0f} MB", str(model.path))
    console.print(table)


@application.command("pull")
def pull(data: Data = None) -> None:
    """Fetch the bundled small model, or go on where a cut left it."""
    ensure_default(configuration.load({"data": data}))


def ensure_default(settings: Configuration) -> None:
    """Have the default model in its folder, unless another is set; shows a bar while it comes.

    Raises DomovoiError.
    """
    if settings.model is not None:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("Fetching the small model", total=None)
        asyncio.run(_store(settings).ensure_default(lambda done, total: bar.update(task, completed=done, total=total)))


def _store(settings: Configuration) -> ModelStore:
    return ModelStore(settings.data / "models")
