"""Running one part in this process."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import inference_node.main
import sync_server.main
from inference_node.identity import enrol, ensure_identity

if TYPE_CHECKING:
    from deploy.command.configuration import Configuration

# sysexits' EX_CONFIG: `domovoi up` takes it as "starting again won't help".
EXIT_STARTUP = 78

log = logging.getLogger("domovoi")


def run_server(configuration: Configuration) -> None:
    """Run the sync server until it is told to stop. Raises StartupError."""
    settings = configuration.server()
    if settings.app_folder is None:
        log.warning("the app is not built, so only the API is served; build it with: make up")
    asyncio.run(sync_server.main.serve(settings, lambda url: log.info("server ready on %s", url)))


def run_node(configuration: Configuration) -> None:
    """Run the inference node until it is told to stop. Raises StartupError."""
    settings = configuration.node()
    asyncio.run(inference_node.main.serve(settings, lambda url: log.info("node ready on %s", url)))


def enrol_node(configuration: Configuration) -> None:
    """Introduce this PC's node to the server through the data folder they share. Raises StartupError."""
    enrol(configuration.data, ensure_identity(configuration.data, configuration.name))
