"""The node's composition root: the one module here that knows every concrete part."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import uvicorn

from inference_node import http_server
from inference_node.endpoints import applications
from inference_node.endpoints.api_keys import ApiKeys
from inference_node.endpoints.applications import Services
from inference_node.endpoints.door import Door
from inference_node.endpoints.library import Models
from inference_node.endpoints.status import Status
from inference_node.engines.chain import chain
from inference_node.engines.child_engine import ChildEngine
from inference_node.hardware.survey import survey
from inference_node.loading import calibration
from inference_node.loading.calibration import Calibrations
from inference_node.loading.keeper import Keeper
from inference_node.loading.loader import Loader, LoadLimits
from inference_node.loading.self_calibration import SelfCalibration
from inference_node.log.claims import Claims
from inference_node.log.database import Database
from inference_node.log.leases import Leases
from inference_node.log.syncing import Syncing
from inference_node.models.models import ModelStore
from inference_node.models.pulls import Pulls
from inference_node.network.interfaces import read_table
from inference_node.network.local_network import LocalNetwork
from inference_node.network.network import Network
from inference_node.openai.api import OpenAiApi
from inference_node.runs.runs import Place, Runs
from inference_node.runs.turns import Turns
from inference_node.server.call_epochs import CallEpochs
from inference_node.server.grants import Grants
from inference_node.server.identity import Identity, ensure_identity
from inference_node.server.keyset import KeyRing, shared_root
from inference_node.server.renewals import Renewals
from inference_node.server.sealing_keys import SealingKeyRing
from inference_node.server.server_api import ServerApi
from inference_node.server.tunnel import Tunnel
from shared.errors import DomovoiError, StartupError
from shared.tokens import node_audience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inference_node.engines.engine import Engine
    from inference_node.network.interfaces import InterfaceAddress
    from inference_node.settings import NodeSettings

log = logging.getLogger(__name__)

# After a stop signal, open requests have this long to finish, seconds.
GRACE_S = 3
# Of programs and pages on this PC; a process may have a thousand descriptors, and engines and models need some.
MOST_CONNECTIONS = 500


async def serve(
    settings: NodeSettings,
    ready: Callable[[str], None] | None = None,
    make_engine: Callable[[str], Engine] = ChildEngine,
    limits: LoadLimits = LoadLimits(),  # noqa: B008  # frozen
    read_table: Callable[[], list[InterfaceAddress]] = read_table,
) -> None:
    """Run the node until it is cancelled or told to stop by a signal; call `ready` with its loopback address.

    Raises StartupError with what to do when it can't start.
    """
    engines = _fastest_first(settings, chain(settings.engine))
    identity = ensure_identity(settings.data, settings.name)
    with _listen(settings) as listener:
        settings = replace(settings, port=listener.getsockname()[1])
        database = await Database.open(settings.folder / "node.db")
        try:
            loader = Loader(make_engine, engines, limits=limits)
            await _Node(settings, identity, database, loader, read_table).serve(listener, ready)
        finally:
            await database.close()


def _fastest_first(settings: NodeSettings, engines: list[str]) -> list[str]:
    """Return the engines in the order in which the default model runs fastest, if that was measured."""
    try:
        model = ModelStore(settings.models, chosen=settings.chosen_model).find_configured(settings.model)
    except DomovoiError:
        return engines
    return calibration.in_order(engines, model, survey(settings.models), Calibrations(settings.calibrations))


class _Node:
    """All parts, wired together."""

    def __init__(
        self,
        settings: NodeSettings,
        identity: Identity,
        database: Database,
        loader: Loader,
        read_table: Callable[[], list[InterfaceAddress]],
    ) -> None:
        self._settings = settings
        self._server = ServerApi(settings.server_url)
        keys = KeyRing(
            settings.folder / "keyset.json",
            self._server,
            node_audience(identity.node_id),
            root=settings.server_root or shared_root(settings.data),
        )
        self._grants = Grants(database, self._server, identity, keys, self._on_grants)
        store = ModelStore(settings.models, chosen=settings.chosen_model)
        turns = Turns(self._on_status)
        loader.board.on_change = self._on_status
        self._keeper = Keeper(store, loader, settings.model, turns.resize)
        calibrations = Calibrations(settings.calibrations)
        self._self_calibration = SelfCalibration(self._keeper, turns, loader, calibrations, settings.model)
        self._runs = Runs(database, self._keeper, turns, self._on_written)
        node_id = bytes.fromhex(identity.node_id)
        self._claims = Claims(database, self._runs, node_id)
        self._syncing = Syncing(database, self._server, self._grants, self._claims.note)
        self._leases = Leases(self._server, self._grants, self._runs, self._syncing.catch_up)
        self._claims.use(self._leases)
        self._status = Status(settings.name, self._keeper, turns, lambda: self._network)
        api_keys = ApiKeys(settings.folder / "api-keys")
        openai = OpenAiApi(api_keys, self._keeper, turns)
        self._models = Models(self._keeper, Pulls(settings.models, self._on_status), settings.model, self._on_status)
        renewals = Renewals(keys, identity)
        self._sealing_keys = SealingKeyRing(identity, keys.now_s)
        self._door = door = Door(keys, renewals, self._grants)
        self._services = Services(
            *(node_id, self._runs, self._keeper, self._claims, door, renewals),
            *(self._status, api_keys, openai, self._models),
            *(self._sealing_keys, CallEpochs()),
        )
        remote = applications.remote(self._services)
        self._tunnel = Tunnel(
            settings.server_url, self._grants, self._status, remote, self._syncing.wake, self._on_seen
        )
        self._network = Network(
            remote,
            port=settings.port,
            tls_port=settings.tls_port,
            origins=settings.allowed_origins,
            certificate=settings.certificate,
            allowed=LocalNetwork(settings.local_network_choice, settings.local_network),
            is_paired=lambda: bool(self._grants.accounts),
            server_url=settings.server_url,
            seen_at=settings.seen_at,
            on_moved=self._tunnel.network_changed,
            on_candidates=self._on_status,
            read=read_table,
        )

    async def serve(self, listener: socket.socket, ready: Callable[[str], None] | None) -> None:
        """Serve until cancelled or signalled, then end runs, engine and connections in that order."""
        settings = self._settings
        await self._grants.load()
        await self._runs.settle_orphans()
        hosts = [f"{name}:{settings.port}" for name in ("localhost", "127.0.0.1", "[::1]")]
        configuration = http_server.configuration(
            applications.loopback(self._services, hosts, settings.allowed_origins),
            most_connections=MOST_CONNECTIONS,
            grace_s=GRACE_S,
        )
        server = _Server(configuration, self._runs)
        background = [
            asyncio.create_task(part.run(), name=type(part).__name__)
            for part in (
                *(self._keeper, self._self_calibration, self._claims),
                *(self._leases, self._syncing, self._tunnel, self._network),
                self._sealing_keys,
            )
        ]
        try:
            if ready is not None:
                ready(f"http://localhost:{settings.port}")
            await _until_stopped(server, listener, background)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._runs.close()
            await self._models.close()
            await self._keeper.close()
            await self._server.close()

    def _on_grants(self) -> None:
        self._network.look()
        self._door.end_unserved()
        self._syncing.grants_changed()
        self._syncing.wake()

    def _on_seen(self, address: str) -> None:
        self._network.seen_from_outside(address)

    def _on_status(self) -> None:
        self._tunnel.status_changed()

    def _on_written(self, place: Place) -> None:
        self._claims.note_end(place)
        self._syncing.wake(place.account)


class _Server(uvicorn.Server):
    """uvicorn, which ends the runs first when it stops: their watchers get the last event and hang up."""

    def __init__(self, configuration: uvicorn.Config, runs: Runs) -> None:
        super().__init__(configuration)
        self._runs = runs

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as a wish to stop. uvicorn itself would raise them again, before our own cleanup is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the runs, then what is still connected."""
        await self._runs.close()
        await super().shutdown(sockets)


async def _until_stopped(server: uvicorn.Server, listener: socket.socket, background: list[asyncio.Task[None]]) -> None:
    """Serve; a part that fails stops the node, and a cancelled task stops it as gracefully as a signal."""
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        done, _ = await asyncio.wait({serving, *background}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
    server.should_exit = True
    await serving
    for task in done:
        await task


def _listen(settings: NodeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on and every event takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # A restarted node takes its port back at once; on Windows the same option would share it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = (
                f"Port {settings.port} is taken by another program. Stop it, or choose another port with --node-port "
                "or DOMOVOI_NODE_PORT."
            )
        else:
            message = f"The node can't listen on {settings.host}:{settings.port} ({error.strerror}). Check --node-port."
        raise StartupError(message) from error
    return listener
