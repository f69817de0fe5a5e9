"""`domovoi models`: the model files of this node."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table

from deploy.command import configuration
from inference_node.hardware.survey import survey
from inference_node.models import catalogue, library, origins, pulling
from inference_node.models.models import ModelStore
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from deploy.command.configuration import Configuration
    from inference_node.models.catalogue import Licence
    from inference_node.models.download import Progress as OnProgress
    from shared.library_wire import Library, LibraryModel

application = typer.Typer(no_args_is_help=True)
console = Console()

Data = Annotated[Path | None, typer.Option(help="Data folder of the node.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Name = Annotated[str, typer.Argument(help="Name or file name, as `domovoi models list` shows it.")]


@application.command("list")
def list_models(data: Data = None, as_json: Json = False) -> None:
    """Show the models that are here, and those that can be fetched by name."""
    settings = configuration.load({"data": data})
    shown = _overview(_store(settings), settings)
    if as_json:
        _print_json(shown)
        return
    table = Table("", "model", "size", "weights", "packing", "context", "licence", "")
    for model in shown.models:
        table.add_row(*_row(model))
    console.print(table if shown.models else "No models here yet. Fetch the small one: domovoi models pull")
    for offer in shown.catalogue:
        console.print(
            f"[bold]domovoi models pull {offer.id}[/bold]: {offer.name}, {_megabytes(offer.download_bytes)}, "
            f"{offer.licence}. {offer.for_whom}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        f"Any other GGUF file: domovoi models pull URL --sha256 …   Good for {shown.proposal}.", soft_wrap=True
    )


@application.command("show")
def show(name: Name, data: Data = None, as_json: Json = False) -> None:
    """Show what is known of one model."""
    settings = configuration.load({"data": data})
    store = _store(settings)
    path = store.path_of(name)
    model = next(model for model in _overview(store, settings).models if model.file == path.name)
    if as_json:
        _print_json(model)
        return
    table = Table("", Column(overflow="fold"), show_header=False, box=None)
    for key, value in msgspec.to_builtins(model).items():
        if value not in {None, "", 0}:
            table.add_row(key.replace("_", " "), escape(f"{value:,}" if type(value) is int else str(value)))
    table.add_row("path", escape(str(path)))
    console.print(table)


@application.command("pull")
def pull(
    name: Annotated[str | None, typer.Argument(help="Name from the catalogue, or the address of a GGUF file.")] = None,
    sha256: Annotated[str, typer.Option(help="Checksum of the file at the address.")] = "",
    accept_licence: Annotated[bool, typer.Option(help="Agree to the model's licence without being asked.")] = False,
    data: Data = None,
) -> None:
    """Fetch a model, or go on where a cut left it. Without a name: the bundled small one."""
    store = _store(configuration.load({"data": data}))
    cut = origins.unfinished(store.folder).get(name or "")
    if cut is not None:
        # A pull that was cut is known by the file's name alone.
        name, sha256 = cut.source, cut.sha256
    if name is not None and "://" in name:
        path = _fetch(name.rpartition("/")[2], lambda told: pulling.pull_address(store.folder, name, sha256, told))
    else:
        model = catalogue.find(name) if name is not None else catalogue.DEFAULT_MODEL
        _require_consent(model.licence, is_given=accept_licence)
        path = _fetch(model.name, lambda told: pulling.pull(store.folder, model, told))
    console.print(f"{path} is here, whole and checked.", highlight=False, soft_wrap=True)


@application.command("use")
def use(name: Name, data: Data = None) -> None:
    """Make a model the one that answers unless a request names another."""
    settings = configuration.load({"data": data})
    library.require_free_choice(settings.model)
    model = _store(settings).use(name)
    console.print(f"{model.name} answers from the next question on.", highlight=False)


@application.command("remove")
def remove(name: Name, data: Data = None) -> None:
    """Delete a model, or what has come of one whose fetching was cut."""
    path = _store(configuration.load({"data": data})).remove(name)
    console.print(f"{path} is gone.", highlight=False, soft_wrap=True)


def ensure_default(settings: Configuration) -> None:
    """Have a model that can answer: fetch the bundled one unless another is set or there. Raises DomovoiError."""
    if settings.model is not None:
        return
    store = _store(settings)
    try:
        store.find(None)
    except DomovoiError:
        _fetch("the small model", store.ensure_default)


def _fetch(what: str, start: Callable[[OnProgress], Coroutine[None, None, Path]]) -> Path:
    """Run a pull with a bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(f"Fetching {escape(what)}", total=None)
        return asyncio.run(start(lambda done, total: bar.update(task, completed=done, total=total)))


def _require_consent(licence: Licence, *, is_given: bool) -> None:
    """Ask for agreement where a licence wants it. Raises DomovoiError `licence_required`."""
    if not licence.must_accept or is_given:
        return
    console.print(f"This model comes under the {licence.name}: {licence.url}", highlight=False, soft_wrap=True)
    if not sys.stdin.isatty():
        raise DomovoiError(Code.LICENCE_REQUIRED, f"Read {licence.url}, then pull again with --accept-licence.")
    if not typer.confirm("Have you read it, and do you agree?"):
        raise DomovoiError(Code.LICENCE_REQUIRED)


_FITS = {"tight": "fits with less context", "too_large": "too large for the memory that is free"}


def _row(model: LibraryModel) -> tuple[str, ...]:
    state = model.detail or _FITS.get(model.fits, "")
    if model.state == "partial":
        state = f"{model.done_bytes * 100 // max(1, model.size)} % fetched; go on: domovoi models pull {model.file}"
    return (
        "●" if model.is_default else "",
        escape(model.name),
        _megabytes(model.size),
        f"{model.parameters / 1e6:,.0f} M" if model.parameters else "",
        model.quantisation,
        f"{model.context:,}" if model.context else "",
        escape(model.licence or ""),
        escape(state),
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"  # noqa: PLR2004


def _print_json(value: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def _overview(store: ModelStore, settings: Configuration) -> Library:
    return library.overview(store, settings.model, survey(store.folder))


def _store(settings: Configuration) -> ModelStore:
    node = settings.node()
    return ModelStore(node.models, chosen=node.chosen_model)
