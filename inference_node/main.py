"""The node's composition root: the one module here that knows every concrete part."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import sqlite3
from typing import TYPE_CHECKING

import uvicorn

from inference_node import accelerator
from inference_node.account_sync import AccountSync
from inference_node.accounts import Accounts
from inference_node.api_keys import ApiKeys
from inference_node.application import make_loopback, make_remote
from inference_node.child_engine import ChildEngine
from inference_node.claims import Claims
from inference_node.clock import Clock
from inference_node.completions import Completions
from inference_node.database import Database
from inference_node.engine_keeper import EngineKeeper
from inference_node.identity import Identity, ensure_identity
from inference_node.key_set import KeySetCache
from inference_node.metrics import Metrics
from inference_node.models import ModelStore
from inference_node.run_records import RunRecords
from inference_node.runs import Runs
from inference_node.server import Server
from inference_node.services import Services
from inference_node.status import Status
from inference_node.tunnel import Tunnel
from inference_node.turns import Turns
from shared.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from inference_node.engine import Engine
    from inference_node.settings import NodeSettings

# After a stop signal, open requests have this long to finish.
GRACE_S = 3
ENGINES = {"llama_cpp": ChildEngine}


async def serve(settings: NodeSettings, ready: Callable[[str], None] | None = None) -> None:
    """Run the node until it is cancelled or told to stop by a signal; call `ready` with its address.

    Raises StartupError with what to do when it can't start.
    """
    engine_name = settings.engine or next(iter(ENGINES))
    if engine_name not in ENGINES:
        raise StartupError(f"There is no engine {engine_name!r}. Known: {', '.join(ENGINES)}.")
    identity = await asyncio.to_thread(ensure_identity, settings.data, settings.name)
    with listen(settings) as listener:
        node = Node(settings, identity, listener.getsockname()[1], ENGINES[engine_name]())
        await node.open()
        accelerator.log_which()
        if ready is not None:
            ready(node.address)
        await node.serve(listener)


class Node:
    """A node put together. `port` is the one that it listens on."""

    def __init__(self, settings: NodeSettings, identity: Identity, port: int, engine: Engine) -> None:
        self.address = f"http://localhost:{port}"
        node_id = bytes.fromhex(identity.node_id)
        folder = settings.data / "node"
        clock = Clock()
        self._database = Database(folder / "node.db")
        self._server = Server(settings.server_url)
        store = ModelStore(settings.data / "models")
        self._turns = Turns(self._on_change)
        self._keeper = EngineKeeper(engine, store, settings.model, self._on_change)
        self._status = Status(settings.name, self._keeper, store, self._turns, self.address)
        records = RunRecords(node_id, self._database, clock)
        metrics = Metrics()
        metrics.gauge("domovoi_queue", "Generations that run or wait.", lambda: len(self._turns))
        metrics.gauge("domovoi_engine_ready", "1 when the engine can answer.", lambda: self._keeper.state == "ready")
        self._runs = Runs(records, self._keeper, self._turns, metrics)
        claims = Claims(node_id, self._database, records, self._runs)
        self._completions = Completions(self._keeper, self._turns)
        key_set = KeySetCache(folder / "keyset.json", identity.node_id, clock, self._server.key_set)
        self._key_set = key_set

        def make_sync(account_id: bytes, log_in_again: Callable[[], None]) -> AccountSync:
            return AccountSync(account_id, node_id, self._database, self._server, clock, claims, log_in_again)

        self._accounts = Accounts(identity, self._database, self._server, key_set, clock, make_sync)
        # Whatever ends may let another account's request in.
        records.on_write = lambda _: self._accounts.wake()
        services = Services(
            accounts=self._accounts,
            api_keys=ApiKeys(settings.data),
            claims=claims,
            completions=self._completions,
            key_set=key_set,
            metrics=metrics,
            records=records,
            runs=self._runs,
            status=self._status,
            store=store,
        )
        self._loopback = make_loopback(services, port, settings.allowed_origins)
        self._tunnel = Tunnel(settings.server_url, identity, clock, self._accounts, self._status, make_remote(services))

        metrics.gauge("domovoi_tunnel_up", "1 while the server is connected.", lambda: self._tunnel.is_up)
        metrics.gauge("domovoi_relayed_calls", "Calls through the tunnel.", lambda: self._tunnel.open_calls)

    async def open(self) -> None:
        """Open what is on disk and settle what an earlier process left. Raises StartupError."""
        await self._database.open()
        self._key_set.load()
        try:
            await self._runs.recover()
            await self._accounts.open()
        except sqlite3.Error as error:
            await self._database.close()
            raise StartupError(f"The node's database does not work ({error}). Check free space.") from error

    async def serve(self, listener: socket.socket) -> None:
        """Work until told to stop; then end runs in good order, the engine and the database last."""
        background = [
            asyncio.create_task(work) for work in (self._keeper.keep(), self._accounts.run(), self._tunnel.run())
        ]
        configuration = uvicorn.Config(
            self._loopback,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
        )
        server = _Server(configuration, self._stop_work)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await serving
            raise
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._server.close()
            await self._database.close()

    async def _stop_work(self) -> None:
        await self._runs.close()
        await self._completions.close()

    def _on_change(self) -> None:
        self._status.changed.set()


class _Server(uvicorn.Server):
    """uvicorn, ending the runs first when it stops, so that their watchers still hear of it."""

    def __init__(self, configuration: uvicorn.Config, stop_work: Callable[[], Awaitable[None]]) -> None:
        super().__init__(configuration)
        self._stop_work = stop_work

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stop_work()
        await super().shutdown(sockets)


def listen(settings: NodeSettings) -> socket.socket:
    """Return the listening socket. Raises StartupError."""
    try:
        is_local = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise StartupError("The node listens on this machine alone; take 127.0.0.1 as its address.")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartupError(
                f"Port {settings.port} is busy. Stop the program that uses it, or choose another with --node-port."
            ) from error
        raise StartupError(
            f"Can't listen on {settings.host}:{settings.port} ({error.strerror}). Choose another port."
        ) from error
