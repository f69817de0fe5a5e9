"""The server's composition root: the one module here that knows every concrete part."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import uvicorn

from shared import private_files
from shared.bounded_http import BoundedHttp
from shared.errors import DomovoiError, StartupError
from shared.tunnel.limits import MAX_FRAME_PAYLOAD_BYTES
from sync_server.accounts import signing_keys
from sync_server.accounts.accounts import Accounts
from sync_server.accounts.passwords import Passwords
from sync_server.accounts.refresh import RefreshTokens
from sync_server.accounts.setup_code import SetupCode
from sync_server.application import make_application
from sync_server.blobs.blob_files import BlobFiles
from sync_server.blobs.blobs import Blobs
from sync_server.guard import Addresses
from sync_server.log.housekeeping import keep_house
from sync_server.log.news import Hub
from sync_server.metrics import Metrics
from sync_server.nodes.enrolment import enrol_from, introduce_server
from sync_server.nodes.node_login import NodeLogins
from sync_server.nodes.pairing import Pairings
from sync_server.nodes.tunnels import Tunnels
from sync_server.open_streams import OpenStreams
from sync_server.services import Services
from sync_server.store.database import Database
from sync_server.store.dialect import dialect_for
from sync_server.store.migrations import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable

    from sync_server.settings import ServerSettings

# After a stop signal, open requests have this long to finish.
GRACE_S = 5
BACKLOG = 2048
# Each device holds an event stream, each PC a tunnel.
MOST_CONNECTIONS = 20_000
# For the database, files, and those that are told that there are too many.
SPARED_DESCRIPTORS = 200
MAX_MESSAGE_BYTES = 16 * MAX_FRAME_PAYLOAD_BYTES


async def serve(settings: ServerSettings, ready: Callable[[str], None] | None = None) -> None:
    """Run the server until it is cancelled or told to stop by a signal; call `ready` with its address.

    Raises StartupError with what to do when it can't start.
    """
    listener = _listen(settings)
    port = listener.getsockname()[1]
    with listener:
        services = await _start(replace(settings, port=port))
        application = make_application(services, Addresses(port, settings.public_url))
        configuration = uvicorn.Config(
            application,
            http=BoundedHttp,
            limit_concurrency=_most_connections(),
            lifespan="off",
            backlog=BACKLOG,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            # The tunnel has a heartbeat of its own.
            ws_ping_interval=None,
            timeout_graceful_shutdown=GRACE_S,
        )
        address = settings.public_url or f"http://localhost:{port}"
        server = _Server(configuration, services, partial(ready, address) if ready else None)
        # It loads its modules with the first thing made of it, and the first stream would keep everybody waiting.
        anyio.Event()
        await _until_stopped(server, listener)


def _most_connections() -> int:
    """Return how many connections there are file descriptors for, after asking for all that may be had."""
    try:
        import resource  # noqa: PLC0415  # not on Windows, which has no such limit
    except ImportError:
        return MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + SPARED_DESCRIPTORS
    given = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < given:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given, hard))
    return given - SPARED_DESCRIPTORS


async def _until_stopped(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve; a cancelled task stops as gracefully as a signalled process."""
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise


class _Server(uvicorn.Server):
    """uvicorn, saying when it has started, and ending open streams first and the database last when it stops."""

    def __init__(
        self, configuration: uvicorn.Config, services: Services, on_started: Callable[[], None] | None
    ) -> None:
        super().__init__(configuration)
        self._services = services
        self._on_started = on_started
        self._housekeeping: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._housekeeping = asyncio.create_task(keep_house(self._services.database, self._services.blobs))
        if self._on_started is not None:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        self._services.streams.close_all()
        self._services.tunnels.close()
        await super().shutdown(sockets)
        self._services.passwords.close()
        await self._services.database.close()


async def _start(settings: ServerSettings) -> Services:
    dialect = dialect_for(settings.database_url, settings.data)
    try:
        private_files.make_folder(settings.data)
        keys = signing_keys.load_or_create(settings.data / "keys")
        introduce_server(settings.data / "enrolment", keys.root)
        await asyncio.to_thread(upgrade, dialect)
        database = Database(dialect)
        await database.open()
        setup_code = SetupCode(settings.data / "setup-code")
        await setup_code.prepare(database)
        await enrol_from(settings.data / "enrolment", database)
    except DomovoiError as error:
        raise StartupError(f"The database can't be used. {dialect.advice}") from error
    except OSError as error:
        raise StartupError(
            f"The data folder {settings.data} can't be written to ({error.strerror}). "
            "Give yourself permission, or choose another with --data or DOMOVOI_DATA."
        ) from error
    return _compose(settings, database, keys, setup_code)


def _compose(
    settings: ServerSettings, database: Database, keys: signing_keys.SigningKeys, setup_code: SetupCode
) -> Services:
    passwords = Passwords()
    refresh_tokens = RefreshTokens(database, keys.refresh_key)
    node_logins = NodeLogins(database, keys, settings.data / "enrolment")
    hub = Hub()
    streams = OpenStreams()
    tunnels = Tunnels(database, node_logins, hub)
    metrics = Metrics()
    blob_files = BlobFiles(settings.data / "blobs")
    metrics.gauge("domovoi_open_streams", "Event streams and relayed calls.", lambda: len(streams))
    metrics.gauge("domovoi_connected_nodes", "Nodes with a tunnel.", lambda: len(tunnels))
    return Services(
        settings=settings,
        database=database,
        keys=keys,
        passwords=passwords,
        accounts=Accounts(database, passwords, setup_code, refresh_tokens),
        refresh_tokens=refresh_tokens,
        node_logins=node_logins,
        pairings=Pairings(database, keys.root),
        hub=hub,
        streams=streams,
        tunnels=tunnels,
        metrics=metrics,
        blob_files=blob_files,
        blobs=Blobs(database, blob_files),
    )


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on and every answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # on Windows this option would share a busy port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        # At once: the port is ours from here on, and who comes early waits.
        listener.listen(BACKLOG)
        return listener
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartupError(
                f"Port {settings.port} is busy. Stop the program that uses it, or choose another with --port."
            ) from error
        raise StartupError(
            f"Can't listen on {settings.host}:{settings.port} ({error.strerror}). Choose another address or port."
        ) from error
