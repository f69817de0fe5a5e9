"""Commands and their flags. What each does stands in the module of its name.

Modules of the parts are imported by the commands that need them: all of them together take a second, and `up` starts
this program three times.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from typer.core import TyperGroup

from deploy.command import configuration, parts
from deploy.command.configuration import Configuration, ConfigurationError
from shared.errors import EXPLANATIONS, DomovoiError, StartupError
from shared.logs import JsonFormatter, TextFormatter

Data = Annotated[Path | None, typer.Option(help="Data folder. Default: the system's place for application data.")]
Port = Annotated[int | None, typer.Option(help="Port of the server. Default: 8460.")]
NodePort = Annotated[int | None, typer.Option(help="Port of the node. Default: 8461.")]

# Each stands in the module of its name.
GROUPS = {
    "models": "The models of this node.",
    "keys": "Keys of other programs on this PC, and of the server.",
    "users": "The accounts of this server.",
}


class _Commands(TyperGroup):
    """Commands and groups; a group's module is imported when one of its commands is called."""

    # Typer brings click along under a private name, so its types can't be named.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in GROUPS:
            module = import_module(f"deploy.command.{name}")
            command = typer.main.get_command(module.application)
        return name, command, rest


application = typer.Typer(
    name="domovoi",
    cls=_Commands,
    help="A private assistant that lives in its owner's house.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for name, text in GROUPS.items():
    application.add_typer(typer.Typer(), name=name, help=text)

errors = Console(stderr=True)


@application.command("up")
def run_everything(
    data: Data = None,
    port: Port = None,
    node_port: NodePort = None,
    browser: Annotated[bool, typer.Option(help="Open the app in the browser.")] = True,
) -> None:
    """Server, node and app in one go, with the bundled small model."""
    from deploy.command import up

    raise typer.Exit(up.run(_configuration(data=data, port=port, node_port=node_port), open_browser=browser))


server_application = typer.Typer(invoke_without_command=True)
application.add_typer(server_application, name="server")


@server_application.callback()
def run_server(
    context: typer.Context,
    data: Data = None,
    port: Port = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    node_port: NodePort = None,
) -> None:
    """The sync server alone."""
    if context.invoked_subcommand is None:
        parts.run_server(_configuration(data=data, port=port, host=host, node_port=node_port))


@server_application.command("restored")
def restored(data: Data = None) -> None:
    """Begin a new history after a restored backup, while the server stands still: devices bring what it lacks."""
    from deploy.command import server

    server.restored(_configuration(data=data))


node_application = typer.Typer(invoke_without_command=True)
application.add_typer(node_application, name="node")


@node_application.callback()
def run_node(
    context: typer.Context,
    data: Data = None,
    port: Port = None,
    node_port: NodePort = None,
    server_url: Annotated[str | None, typer.Option(help="Address of the server.")] = None,
    reset_clock: Annotated[
        bool, typer.Option("--reset-clock", help="Forget what a server whose clock was ahead has signed; then start.")
    ] = False,
) -> None:
    """The inference node alone."""
    if context.invoked_subcommand is not None:
        return
    settings = _configuration(data=data, port=port, node_port=node_port, server_url=server_url)
    if reset_clock:
        from inference_node.server import keyset

        keyset.forget_times(settings.node().folder / "keyset.json")
    parts.run_node(settings)


@node_application.command("pair")
def pair_node(
    context: typer.Context,
    server: Annotated[str, typer.Argument(help="Address of the server, as the app shows it.")],
    code: Annotated[str | None, typer.Argument(help="The code that the app shows. Default: asked for.")] = None,
    data: Data = None,
    instead: Annotated[bool, typer.Option(help="Leave the server that this PC is paired with.")] = False,
) -> None:
    """Pair this PC with a server: compare six digits with the app, and confirm there."""
    from deploy.command import pair

    # `domovoi node --data … pair` says the same.
    data = data or (context.parent.params["data"] if context.parent else None)
    pair.run(_configuration(data=data), server, code or typer.prompt("Code"), instead=instead)


ServerUrl = Annotated[str | None, typer.Option(help="Address of the server. Default: the one on this machine.")]
Username = Annotated[str, typer.Option("--username", prompt="Name", help="Whose account it is.")]


@application.command("export")
def run_export(
    file: Annotated[Path, typer.Argument(help="The zip file to write.")],
    username: Username,
    server_url: ServerUrl = None,
    data: Data = None,
) -> None:
    """Write all of an account into a file, in the open format of docs/export.md."""
    from deploy.command import transfer

    transfer.run_export(_configuration(data=data, server_url=server_url), username, file)


@application.command("import")
def run_import(
    file: Annotated[Path, typer.Argument(help="What domovoi export wrote.")],
    username: Username,
    server_url: ServerUrl = None,
    data: Data = None,
) -> None:
    """Add what a file holds to an account. Adding it twice changes nothing."""
    from deploy.command import transfer

    transfer.run_import(_configuration(data=data, server_url=server_url), username, file)


@application.command("doctor")
def run_doctor(
    data: Data = None,
    port: Port = None,
    node_port: NodePort = None,
    measure: Annotated[bool, typer.Option(help="Run each engine for two seconds and remember its speed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of --json.")] = False,
) -> None:
    """Hardware, engines, models, ports and data: what is here, what was chosen, what is wrong, and what to do."""
    from deploy.command import doctor

    if schema:
        doctor.print_schema()
        return
    settings = _configuration(data=data, port=port, node_port=node_port)
    raise typer.Exit(doctor.run(settings, measure=measure, as_json=as_json))


@application.command("bench")
def run_bench(
    model: Annotated[str | None, typer.Argument(help="Name of a model. Default: the default one.")] = None,
    data: Data = None,
    engine: Annotated[str | None, typer.Option(help="This engine alone.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; figures are medians over them.")] = 5,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for a quiet machine.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Measure the engines of this machine, in turns, and print a table."""
    from deploy.command import bench

    settings = _configuration(data=data, engine=engine)
    bench.run(settings, model=model, rounds=rounds, wait_s=wait, as_json=as_json)


def _configuration(**flags: Any) -> Configuration:
    loaded = configuration.load(flags)
    if loaded.log == "json":
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        logging.getLogger().handlers = [handler]
    return loaded


def _log_to_stderr() -> None:
    handler: logging.Handler
    if sys.stderr.isatty():
        handler = RichHandler(console=errors, show_path=False, markup=False)
        handler.setFormatter(TextFormatter("%(name)s: %(message)s", datefmt="[%X]"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # Their own news is for developers; what goes wrong in them still shows.
    for chatty in ("httpx", "alembic", "databases", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def main() -> None:
    """Run the command; every expected failure ends in one sentence that says what to do."""
    _log_to_stderr()
    try:
        application()
    except (ConfigurationError, StartupError, DomovoiError) as error:
        said = f"{EXPLANATIONS[error.code].title} {error.detail}" if isinstance(error, DomovoiError) else str(error)
        errors.print("[bold]Domovoi can't go on.[/bold]", end=" ")
        errors.print(said, markup=False, highlight=False, soft_wrap=True)
        sys.exit(parts.EXIT_STARTUP)
    except KeyboardInterrupt:
        sys.exit(130)
