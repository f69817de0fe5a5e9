"""A house whose network and processes fail when they are told to: server, PC and phone are real processes.

Three ways lead through proxies: `direct` from the phone to the PC, `away` from the phone to the server, `tunnel` from
the PC to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import psutil
from pymysql.err import OperationalError

from shared.change import EntityType
from tests.chaos import engine, node
from tests.chaos.phone import Phone
from tests.chaos.process import Nursed
from tests.tunnel.fault_proxy import FaultProxy, Mode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mariadb import MariaDB

SETTLES_WITHIN_S = 60.0
LOOK_EVERY_S = 0.01
# In this process; who got one may not listen yet.
_given: set[int] = set()
# Below what Linux, macOS and Windows give to connections.
NEVER_GIVEN = (10_000, 32_000)
ENTRY_CHARACTERS = 3000
# A round of probes takes less than that many looks.
TRIES_BEFORE_ANOTHER = 200


class Generation(NamedTuple):
    """One time that an engine has begun to answer."""

    run: str
    nonce: str
    process_id: int


class House:
    """Everything, in `folder`; kept between runs, and only what a run has killed is started again.

    With a `model` a real engine answers; without a `database`, which has been started, the server takes SQLite.
    """

    def __init__(self, folder: Path, model: Path | None = None, database: MariaDB | None = None) -> None:
        self.folder = folder
        self.model = model
        self.database = database
        self._database_url = database.new_database() if database else ""
        self.data = folder / "data"
        self.marks = folder / "marks"
        for made in (self.data, self.marks):
            made.mkdir(parents=True, exist_ok=True)
        server_port, node_port = free_port(), free_port()
        self.origin = f"http://localhost:{server_port}"
        self.direct = FaultProxy(node_port, free_port(), target_host=node.BOUND_AT)
        self.away = FaultProxy(server_port, free_port())
        self.tunnel = FaultProxy(server_port, free_port())
        tunnel = f"http://localhost:{self.tunnel.port}"
        server = ("tests.chaos.server", str(self.data), str(server_port), tunnel, self._database_url)
        self.server = Nursed((sys.executable, "-m", *server), folder / "server.log")
        pc = ("tests.chaos.node", str(self.data), tunnel, str(node_port), self.origin, str(model or ""))
        marks = {engine.FOLDER: str(self.marks)}
        self.node = Nursed((sys.executable, "-m", *pc), folder / "node.log", marks)
        places = {f"localhost:{server_port}": self.away.port, f"{node.ADDRESS}:{node_port}": self.direct.port}
        self.phone = Phone(self.origin, places, folder / "phone.log")
        self._moves = 0
        self._starting: asyncio.Task[None] | None = None
        self._generations_read = 0
        self._generations: list[Generation] = []

    @property
    def is_real(self) -> bool:
        """Whether a real model answers."""
        return self.model is not None

    @property
    def proxies(self) -> tuple[FaultProxy, ...]:
        return self.direct, self.away, self.tunnel

    async def start(self) -> None:
        """Start all of it and make the first account."""
        for proxy in self.proxies:
            await proxy.start()
        self.move_pc()
        await asyncio.gather(self.server.start(), self.node.start(), self.phone.start())
        await self.phone.register((self.data / "setup-code").read_text("utf-8").strip())
        await self.settle()

    async def close(self) -> None:
        """End all of it."""
        if self._starting is not None:
            self._starting.cancel()
        await asyncio.gather(self.phone.close(), self.node.close(), self.server.close())
        for proxy in self.proxies:
            await proxy.stop()

    def heal(self) -> None:
        """Make the network a good one."""
        for proxy in self.proxies:
            proxy.heal()

    async def settle(self, first: str = "direct") -> None:
        """Heal the network, and wait until everybody is there and the phone reaches the PC by this route."""
        self.heal()
        await self.until_started()
        if first == "relay":
            self.direct.mode = Mode.CLOSED
            self.direct.cut()
        async with asyncio.timeout(SETTLES_WITHIN_S):
            while True:
                await self.phone.change_network()
                for _ in range(TRIES_BEFORE_ANOTHER):
                    if await self.phone.best_routes() == [first]:
                        return
                    await asyncio.sleep(LOOK_EVERY_S)

    def generations(self, run: str) -> list[Generation]:
        """Return every time that an engine has begun to answer this run's question."""
        journal = self.marks / engine.GENERATIONS
        if journal.exists():
            with journal.open(encoding="ascii") as lines:
                lines.seek(self._generations_read)
                for line in lines.read().splitlines():
                    name, nonce, process_id = line.split()
                    self._generations.append(Generation(name, nonce, int(process_id)))
                self._generations_read = lines.tell()
        return [one for one in self._generations if one.run == run]

    async def kill_and_start(self, part: Nursed) -> None:
        """SIGKILL a process now, and start the next one; nobody waits for that here."""
        await self.until_started()
        await part.kill()
        self._starting = asyncio.create_task(part.start_next())

    async def kill_database(self) -> None:
        """The same with the database, if it is a process."""
        if self.database is None:
            return
        await self.until_started()
        await asyncio.to_thread(self.database.kill)
        self._starting = asyncio.create_task(asyncio.to_thread(self.database.start))

    async def until_started(self) -> None:
        """Wait until whoever was killed answers again."""
        if self._starting is not None:
            await self._starting
            self._starting = None

    def move_pc(self) -> None:
        """Put the PC on another network; its address there is the same, by chance."""
        self._moves += 1
        made = self.marks / f"{node.INTERFACE}.new"
        made.write_text(f"eth{self._moves}", "ascii")
        made.replace(self.marks / node.INTERFACE)

    def kill_engines(self) -> None:
        """SIGKILL every engine that there is now."""
        for process_id in self._engines():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)

    def is_alive(self, generation: Generation) -> bool:
        """Say whether the engine that began it is still there."""
        return generation.process_id in self._engines()

    def _engines(self) -> list[int]:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.node.process_id).children()
            return [child.pid for child in children if engine.MODULE in child.cmdline()]
        return []

    def stored(self, answer: bytes) -> dict[int, bytes]:
        """Return the server's cells of a message, by field; none while its database is away."""
        of_message = "SELECT field, value FROM cell WHERE etype = {0} AND eid = {0}"
        asked = (EntityType.MESSAGE, answer)
        if self.database is not None:
            with contextlib.suppress(OperationalError):
                return dict(self.database.run(of_message.format("%s"), asked, urlsplit(self._database_url).path[1:]))
            return {}
        with closing(sqlite3.connect(f"file:{self.data / 'server.db'}?mode=ro", uri=True, timeout=30)) as database:
            return dict(database.execute(of_message.format("?"), asked))

    def errors(self) -> list[str]:
        """Return what server and PC have logged as an error, but for engines that were killed."""
        entries = [
            f"{name}: {entry[:ENTRY_CHARACTERS]}"
            for name, part in (("server", self.server), ("PC", self.node))
            for entry in part.log().split("\n@ ")[1:]
        ]
        return [entry for entry in entries if ": ERROR" in entry[:20] and "engine failed" not in entry]

    def logs(self) -> str:
        """Return the end of what server and PC have said."""
        return f"── the server says:\n{self.server.tail()}\n── the PC says:\n{self.node.tail()}"


def free_port() -> int:
    """Return a port that nobody listens on, and that no connection is given while a killed process is away."""
    while True:
        port = random.randrange(*NEVER_GIVEN)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            if port not in _given:
                _given.add(port)
                return port
