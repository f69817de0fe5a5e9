"""`domovoi node pair`: this PC joins an account of a server elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.console import Console

from deploy.command.up import prepare_data_folder
from inference_node.server.identity import ensure_identity
from inference_node.server.paired_server import paired_server, remember_server
from inference_node.server.pairing import PairingRefused, pair
from inference_node.server.server_api import Unreachable
from shared.errors import StartupError

if TYPE_CHECKING:
    from deploy.command.configuration import Configuration

console = Console()


def run(configuration: Configuration, server: str, code: str, *, instead: bool) -> None:
    """Pair, and remember with whom. Raises StartupError, and DomovoiError with the server's code."""
    url = _checked(server)
    before = paired_server(configuration.data)
    if before is not None and before.url != url and not instead:
        raise StartupError(
            f"This PC is paired with {before.url}, and a PC has one server. To leave that one, add --instead."
        )
    prepare_data_folder(configuration.data)
    identity = ensure_identity(configuration.data, configuration.name)
    try:
        paired = asyncio.run(pair(url, identity, code, _show))
    except Unreachable as error:
        raise StartupError(
            f"No Domovoi server answers at {url} ({error}). Check the address; the app shows it."
        ) from error
    except PairingRefused as error:
        raise StartupError("It was refused in the app. Nothing has changed here.") from error
    remember_server(configuration.data, url, paired.root)
    # What a server says must not move about in the terminal.
    username = "".join(character for character in paired.username if character.isprintable())
    console.print(f"Paired with the account of {username}.", markup=False, highlight=False, soft_wrap=True)
    console.print("A node that runs here connects by itself now. If none does: domovoi node", soft_wrap=True)


def _show(check: str) -> None:
    console.print(f"\n    [bold]{check}[/bold]\n", highlight=False)
    console.print("The app shows six digits. If they are these, confirm there; if not, refuse.", soft_wrap=True)


def _checked(server: str) -> str:
    """Return the address without what follows the host. Raises StartupError."""
    parts = urlsplit(server if "//" in server else f"https://{server}")
    try:
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise StartupError(f"{server} is not the address of a server. The app shows it, like https://home.example.org.")
    return f"{parts.scheme}://{parts.netloc}"
