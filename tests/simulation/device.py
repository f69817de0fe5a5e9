"""Devices in a simulated world: the real replica and exchange, somebody who writes, and everything that can happen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from inference_node.log import replica
from inference_node.log.exchange import Exchange
from inference_node.log.replica import Write
from inference_node.server.server_api import Unreachable
from shared.change import AttachmentField, Change, ConversationField, EntityType, MessageField
from shared.errors import DomovoiError
from shared.wire import IfLease, LeaseRequest
from tests.simulation import virtual_time
from tests.simulation.files import File, new_file, send
from tests.simulation.server import ACCOUNT, Network, SimulatedServer
from tests.simulation.stores import Crashed, DeviceStore, pause

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import Sequence

    from shared.wire import Push, Pushed

# Few of each, so that devices write to the same cells.
SCOPES = [bytes([0xC0 + number]) * 16 for number in range(4)]
MESSAGES = [bytes([0xE0 + number]) * 15 for number in range(5)]
# What a node writes at the end of an answer.
SEAL = (MessageField.BODY, MessageField.STATE)
# A field of a version that does not exist yet (rule L3).
UNKNOWN_FIELD = 4242


class Device:
    """One app. `acknowledged` is what the server has told it that it has; `wrote` all that it made."""

    def __init__(self, server: SimulatedServer, rng: random.Random, loss: float, name: str) -> None:
        self.name = name
        self.rng = rng
        self.skew_ms = 0
        self.store = DeviceStore()
        self.network = _Remembering(server, rng, loss)
        self.files: list[File] = []
        self.backup: sqlite3.Connection | None = None
        self._token: str | None = None
        self._is_busy = asyncio.Lock()

    async def work(self, until_s: float) -> None:
        """Write now and then, and exchange the log now and then."""
        virtual_time.skew_ms.set(self.skew_ms)
        loop = asyncio.get_running_loop()
        while loop.time() < until_s:
            await pause(self.rng, 15.0)
            try:
                kind = self.rng.random()
                if kind < 0.5:
                    await self.write()
                elif kind < 0.6:
                    await self.attach()
                else:
                    await self.exchange()
            except (Unreachable, DomovoiError, Crashed):
                # Whatever it was, the next exchange begins with what is in the database.
                continue

    async def write(self) -> None:
        """Write a few fields."""
        virtual_time.skew_ms.set(self.skew_ms)
        async with self.store.transaction() as connection:
            if await replica.account(connection, ACCOUNT) is not None:
                await replica.write(connection, ACCOUNT, [self._field() for _ in range(self.rng.randint(1, 3))])

    async def attach(self) -> None:
        """Send a file and then name it. Raises Unreachable, DomovoiError, Crashed."""
        virtual_time.skew_ms.set(self.skew_ms)
        file = self.files[-1] if self.files and self.rng.random() < 0.5 else new_file(self.rng)
        if file not in self.files:
            self.files.append(file)
        if not await send(self.network, lambda: self.token(ACCOUNT), file, self.rng):
            return
        # An entity never changes its scope.
        scope = SCOPES[file.sha256[0] % len(SCOPES)]
        write = Write(EntityType.ATTACHMENT, file.sha256[:16], AttachmentField.BLOB, scope, file.sha256)
        async with self.store.transaction() as connection:
            await replica.write(connection, ACCOUNT, [write])

    async def exchange(self) -> None:
        """Push all and read all. Raises Unreachable, DomovoiError, Crashed."""
        virtual_time.skew_ms.set(self.skew_ms)
        async with self._is_busy:
            await Exchange(ACCOUNT, self.store, self.network, self).run()

    async def verify(self) -> bool:
        """Compare digests."""
        exchange = Exchange(ACCOUNT, self.store, self.network, self)
        await exchange.run()
        return await exchange.verify()

    # Tokens, as Exchange wants them.

    async def token(self, account_id: bytes, refused: str | None = None) -> str | None:
        if self._token is None or self._token == refused:
            await self.refresh()
        return self._token

    async def refresh(self, forked: Sequence[bytes] = ()) -> None:
        async with self.store.transaction() as connection:
            row = await replica.account(connection, ACCOUNT)
        known = None if row is None or forked else row["device_id"]
        device_id, token, server_ms = await self._log_in(known, tuple(forked))
        async with self.store.transaction() as connection:
            await replica.serve(connection, ACCOUNT, device_id, server_ms - _clock_ms())
        self._token = token

    async def _log_in(self, known: bytes | None, forked: tuple[bytes, ...]) -> tuple[bytes, str, int]:
        return await self.network.log_in(known)

    # What is done to it.

    def restart(self) -> None:
        """Forget what was only in memory."""
        self._token = None

    def keep_backup(self) -> None:
        self.backup = self.store.copy()

    def restore(self) -> None:
        """Come back as it was at its backup, with a log that the server knows further."""
        if self.backup is not None:
            self.store = DeviceStore(self.backup)
            self.restart()

    def clone(self, name: str, loss: float) -> Device:
        """Return another device that takes itself for this one."""
        clone = Device(self.network.server, self.rng, loss, name)
        clone.store = DeviceStore(self.store.copy())
        clone.skew_ms = self.skew_ms
        return clone

    async def cells(self) -> dict[tuple[int, bytes, int], tuple[Change, int]]:
        """Return every cell with its seq."""
        async with self.store.transaction() as connection:
            rows = await connection.execute_fetchall("SELECT * FROM cell WHERE account_id = ?", (ACCOUNT,))
        return {(row["etype"], row["eid"], row["field"]): (replica.to_change(row), row["seq"]) for row in rows}

    def _field(self) -> Write:
        number = self.rng.randrange(len(SCOPES))
        scope = SCOPES[number]
        kind = self.rng.random()
        if kind < 0.03:
            return Write(EntityType.CONVERSATION, scope, ConversationField.PURGED, scope, True)
        if kind < 0.15:
            return Write(EntityType.CONVERSATION, scope, ConversationField.TITLE, scope, self.rng.random())
        message = self.rng.choice(MESSAGES) + bytes([number])
        if kind < 0.35:
            return Write(EntityType.MESSAGE, message, MessageField.REQUEST, scope, self.name)
        field = self.rng.choice([MessageField.HEADER, MessageField.STOP, MessageField.DELETED, UNKNOWN_FIELD])
        return Write(EntityType.MESSAGE, message, field, scope, [self.name, self.rng.random()])


class Node(Device):
    """A node that answers what is asked of any: claim, read on, look again, work, seal (rules Q9, Q10)."""

    def __init__(self, server: SimulatedServer, rng: random.Random, loss: float, name: str, node_id: bytes) -> None:
        super().__init__(server, rng, loss, name)
        self.node_id = node_id

    async def _log_in(self, known: bytes | None, forked: tuple[bytes, ...]) -> tuple[bytes, str, int]:
        return await self.network.log_in_node(self.node_id, forked)

    async def work(self, until_s: float) -> None:
        virtual_time.skew_ms.set(self.skew_ms)
        loop = asyncio.get_running_loop()
        while loop.time() < until_s:
            await pause(self.rng, 10.0)
            try:
                await self.exchange()
                await self.answer_one()
            except (Unreachable, DomovoiError, Crashed):
                continue

    async def answer_one(self) -> None:
        """Answer one open request, if the lease is to be had."""
        for answer, scope in await self._open():
            wish = LeaseRequest(answer, "claim")
            lease = await self.network.lease(await self.token(ACCOUNT) or "", wish)
            await self.exchange()
            if (answer, scope) not in await self._open():
                return
            # Now and then longer than the lease, with nobody to renew it.
            await pause(self.rng, 90.0)
            held = IfLease(answer, lease.token)
            writes = [Write(EntityType.MESSAGE, answer, field, scope, self.name) for field in SEAL]
            async with self.store.transaction() as connection:
                await replica.write(connection, ACCOUNT, writes, held)
            await self.exchange()
            return

    async def _open(self) -> list[tuple[bytes, bytes]]:
        cells = await self.cells()
        asked = {eid: cell.scope for (etype, eid, field), (cell, _) in cells.items() if _is_request(etype, field)}
        return [
            (eid, scope)
            for eid, scope in sorted(asked.items())
            if (EntityType.MESSAGE, eid, MessageField.STATE) not in cells
        ]


class _Remembering(Network):
    """Keeps every change that the server has acknowledged to this device."""

    def __init__(self, server: SimulatedServer, rng: random.Random, loss: float) -> None:
        super().__init__(server, rng, loss)
        self.acknowledged: list[Change] = []

    async def push(self, token: str, batch: Push) -> Pushed:
        pushed = await super().push(token, batch)
        self.acknowledged += batch.changes[: pushed.acked_dseq - batch.first_dseq + 1]
        return pushed


def _is_request(etype: int, field: int) -> bool:
    return etype == EntityType.MESSAGE and field == MessageField.REQUEST


def _clock_ms() -> int:
    loop: Any = asyncio.get_running_loop()
    return int(loop.skewed_ms())
