"""Running one part in this process."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from deploy.command.configuration import Configuration
    from inference_node.server.paired_server import PairedServer

# sysexits' EX_CONFIG: `domovoi up` takes it as "starting again won't help".
EXIT_STARTUP = 78
# Set by `domovoi up`: the part ends when its standard input does, so that no part outlives a killed parent,
# and on Windows, which has no SIGTERM, it can still be asked to stop in good order.
SUPERVISED = "DOMOVOI_SUPERVISED"

# How soon a node that runs notices that it was paired, seconds.
LOOK_EVERY_S = 1.0
NOT_PAIRED = (
    "this PC is not paired with a server. In the app choose House, Add a PC, and run here: domovoi node pair ADDRESS. "
    "For server and app on this PC too: domovoi up"
)

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
    if configuration.server_url is None:
        enrol_node(configuration)
        if not (configuration.data / "enrolment" / "server-root").exists():
            log.warning(NOT_PAIRED)
    asyncio.run(_until_orphaned(_serve_node(configuration)))


async def _serve_node(configuration: Configuration) -> None:
    """Serve, and begin again with another server when `domovoi node pair` has found one meanwhile."""
    from inference_node.main import serve
    from inference_node.server.paired_server import paired_server

    while True:
        paired = paired_server(configuration.data)
        serving = asyncio.create_task(serve(configuration.node(), lambda url: log.info("node ready on %s", url)))
        watching = asyncio.create_task(_paired_anew(configuration.data, paired))
        try:
            # A server that somebody has named in the settings stays the one.
            follows = configuration.server_url in {None, None if paired is None else paired.url}
            await asyncio.wait({serving, watching} if follows else {serving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                return await serving
            configuration = replace(configuration, server_url=watching.result().url)
        finally:
            for task in (serving, watching):
                task.cancel()
            await asyncio.gather(serving, watching, return_exceptions=True)
        log.info("paired with %s", configuration.server_url)


async def _paired_anew(data: Path, known: PairedServer | None) -> PairedServer:
    """Return another server than the known one, once this PC was paired with it. Raises StartupError."""
    from inference_node.server.paired_server import paired_server

    while (paired := paired_server(data)) is None or paired == known:  # noqa: ASYNC110  # another process writes it
        await asyncio.sleep(LOOK_EVERY_S)
    return paired


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
