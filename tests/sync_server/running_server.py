"""The real server, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx

from sync_server.accounts.invitations import invite
from sync_server.main import serve
from sync_server.settings import ServerSettings
from sync_server.store.database import Database
from sync_server.store.dialect import dialect_for
from tests.sync_server.device import Device

if TYPE_CHECKING:
    from pathlib import Path

WITHIN_S = 20.0
# Opening a database takes longer than making invitations.
INVITATIONS_AT_ONCE = 20
StartServer = Callable[..., "RunningServer"]
SetAccount = Callable[..., None]


class RunningServer:
    """A server that has started. Raises what `serve` raises if it can't."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.settings = ServerSettings(data, **{"port": 0, **settings})
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._clients: list[httpx.Client] = []
        self._invitations: list[str] = []
        self.url = ""
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._thread.start()
        if not self._ready.wait(WITHIN_S):
            raise TimeoutError("the server does not start")
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    @property
    def port(self) -> int:
        """The port it listens on."""
        port = httpx.URL(self.url).port
        assert port is not None
        return port

    @property
    def websocket_url(self) -> str:
        """Where a node connects."""
        return f"ws://localhost:{self.port}/tunnel"

    def client(self) -> httpx.Client:
        """Return a client without any login, at an address of its own; it lives as long as the server."""
        address = f"198.18.{len(self._clients) // 250}.{len(self._clients) % 250}"
        headers = {"x-forwarded-for": address}
        self._clients.append(httpx.Client(base_url=self.url, trust_env=False, timeout=WITHIN_S, headers=headers))
        return self._clients[-1]

    def ask_to_stop(self) -> None:
        """Cancel the server's task once, and return at once."""
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._loop = None

    def stop(self) -> None:
        """Stop as a cancelled task does, and wait."""
        for client in self._clients:
            client.close()
        self.ask_to_stop()
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive(), "the server does not stop"

    def started_again(self) -> RunningServer:
        """Stop, and return a new server over the same data, on the same port, for the same clients."""
        port = self.port
        clients, self._clients = self._clients, []
        self.stop()
        again = RunningServer(**vars(replace(self.settings, port=port)))
        again._clients = clients
        return again

    def setup_code(self) -> str:
        """Return what the file says."""
        return (self.settings.data / "setup-code").read_text().strip()

    def invitation(self) -> str:
        """Return a new invitation, made as the command `domovoi users invite` makes it: in the database."""

        async def make() -> list[str]:
            database = Database(dialect_for(self.settings.database_url, self.settings.data))
            await database.open()
            try:
                return [(await invite(database)).code for _ in range(INVITATIONS_AT_ONCE)]
            finally:
                await database.close()

        if not self._invitations:
            self._invitations = asyncio.run(make())
        return self._invitations.pop()

    def first_account(self, username: str = "Owner") -> Device:
        """Register the first account."""
        return Device.registered(self.client, username, setup_code=self.setup_code())

    def new_account(self, username: str) -> Device:
        """Register another account with an invitation."""
        return Device.registered(self.client, username, invitation=self.invitation())

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(serve(self.settings, self._on_ready))
        try:
            await self._task
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._failure = error

    def _on_ready(self, url: str) -> None:
        self.url = url
        self._ready.set()
