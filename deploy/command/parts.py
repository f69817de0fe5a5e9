"""Running one part in this process."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from deploy.command.configuration import Configuration

# sysexits' EX_CONFIG: `domovoi up` takes it as "starting again won't help".
EXIT_STARTUP = 78
# Set by `domovoi up`: the part ends when its standard input does, so that no part outlives a killed parent,
# and on Windows, which has no SIGTERM, it can still be asked to stop in good order.
SUPERVISED = "DOMOVOI_SUPERVISED"

log = logging.getLogger("domovoi")


def run_server(configuration: Configuration) -> None:
    """Run the sync server until it is told to stop. Raises StartupError."""
    from sync_server.main import serve

    settings = configuration.server()
    if settings.app_folder is None:
        log.warning("the app is not built, so only the API is served; build it with: make up")
    asyncio.run(_until_orphaned(serve(settings, lambda url: log.info("server ready on %s", url))))


def run_node(configuration: Configuration) -> None:
    """Run the inference node until it is told to stop. Raises StartupError."""
    from inference_node.main import serve

    if configuration.server_url is None:
        enrol_node(configuration)
    settings = configuration.node()
    asyncio.run(_until_orphaned(serve(settings, lambda url: log.info("node ready on %s", url))))


def enrol_node(configuration: Configuration) -> None:
    """Introduce this PC's node to the server that shares its data folder: all the pairing it needs.

    Raises StartupError.
    """
    from inference_node.server.identity import enrol, ensure_identity

    enrol(configuration.data, ensure_identity(configuration.data, configuration.name))


async def _until_orphaned(serving: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(serving)
    if SUPERVISED in os.environ:
        loop = asyncio.get_running_loop()
        threading.Thread(target=_cancel_at_end_of_input, args=(loop, task), daemon=True).start()
    try:
        await task
    except asyncio.CancelledError:
        log.info("stopped")


def _cancel_at_end_of_input(loop: asyncio.AbstractEventLoop, task: asyncio.Future[None]) -> None:
    # os.read, not sys.stdin: a thread inside a buffered reader aborts the interpreter at exit.
    while os.read(0, 1):
        pass
    loop.call_soon_threadsafe(task.cancel)
