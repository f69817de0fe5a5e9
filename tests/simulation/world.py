"""One run of the simulation: everything that can happen does, then the world heals, and nothing may be missing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from inference_node import clock as device_clock
from inference_node.server.server_api import Unreachable
from shared.change import Change, ConversationField, EntityType, MessageField, cell_key
from shared.clock import device as device_of
from sync_server import clock as server_clock
from sync_server.log.books import CELL_OVERHEAD_BYTES
from sync_server.log.digests import digest_of
from sync_server.log.pull import pull
from sync_server.nodes.nodes import NodeKey
from sync_server.store.tables import account, blob, purge
from tests.simulation import virtual_time
from tests.simulation.device import Device, Node
from tests.simulation.files import named_file
from tests.simulation.server import ACCOUNT, SimulatedServer
from tests.simulation.stores import Crashed, pause
from tests.simulation.virtual_time import VirtualLoop

if TYPE_CHECKING:
    from shared.change import CellKey

_PURGES = select(purge.c.scope)
MOST_APPS = 3
NODES = 2
# How long things go wrong, in virtual seconds.
TROUBLE_S = 80.0
HOUR_MS = 3_600_000
TEN_YEARS_MS = 10 * 365 * 24 * HOUR_MS
HUNDRED_DAYS_MS = 100 * 24 * HOUR_MS
ROUNDS = 4
# So little that some worlds are full after a while, and a purge makes room.
LITTLE_ROOM_BYTES = 4_000
WORST_LOSS = 0.25


def simulate(seed: int) -> tuple[int, bytes]:
    """Run one world to its end, and return the digest of what the server has then.

    Raises AssertionError when an invariant is broken; the same seed does so again.
    """
    loop = VirtualLoop()
    rng = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(secrets, "token_bytes", lambda count=32: rng.randbytes(count))
        patch.setattr(secrets, "randbelow", rng.randrange)
        patch.setattr(server_clock, "now_ms", loop.now_ms)
        patch.setattr(device_clock, "now_ms", loop.skewed_ms)
        # Threads would make two runs of one seed differ, and the power fails here alone.
        patch.setattr(asyncio, "to_thread", virtual_time.at_once)
        patch.setattr(os, "fsync", lambda _: None)
        return virtual_time.run(World(rng, loop, Path(folder)).live(), loop)


class World:
    """A family's devices, two nodes, a server, and what befalls them."""

    def __init__(self, rng: random.Random, loop: VirtualLoop, folder: Path) -> None:
        self.rng = rng
        self.loop = loop
        self.server = SimulatedServer(folder, rng)
        loss = rng.random() * WORST_LOSS
        self.keys = [NodeKey(bytes([number]) * 16, "PC", bytes([number]) * 32) for number in range(NODES)]
        self.nodes = [Node(self.server, rng, loss, f"node {key.node_id[0]}", key.node_id) for key in self.keys]
        self.apps = [Device(self.server, rng, loss, f"app {number}") for number in range(rng.randint(1, MOST_APPS))]
        # What a device from a backup has lost may be on the server alone, and the other way round: one of the two.
        self.is_server_restored = rng.random() < 0.3
        self.is_device_restored = not self.is_server_restored and rng.random() < 0.4
        self.is_cloned = rng.random() < 0.3
        self.has_little_room = rng.random() < 0.2
        self.loss = loss
        self._busy: dict[str, asyncio.Task[None]] = {}
        for device in self.devices:
            device.skew_ms = rng.choice([0, 0, 0, 1, -1]) * rng.choice([HOUR_MS, TEN_YEARS_MS])

    @property
    def devices(self) -> list[Device]:
        return [*self.apps, *self.nodes]

    async def live(self) -> tuple[int, bytes]:
        """Begin, go wrong, heal, check, and return the digest."""
        await self.server.begin(self.keys)
        if self.has_little_room:
            await self.server.give_room(LITTLE_ROOM_BYTES)
        for device in self.devices:
            self._start(device)
        await self._make_trouble()
        await asyncio.gather(*self._busy.values())
        await self._heal()
        await self._check()
        end = await digest_of(self.server.store, ACCOUNT)
        for device in self.devices:
            await device.store.close()
        await self.server.store.close()
        return end.count, end.digest

    def _start(self, device: Device) -> None:
        self._busy[device.name] = asyncio.ensure_future(device.work(TROUBLE_S))

    async def _make_trouble(self) -> None:
        while self.loop.time() < TROUBLE_S:
            await pause(self.rng, 12.0)
            device = self.rng.choice(self.devices)
            match self.rng.randrange(11):
                case 0:
                    device.network.is_cut = not device.network.is_cut
                case 1:
                    device.network.slowest_s = self.rng.choice([0.1, 3.0, 40.0])
                case 2:
                    device.store.fuse.set(self.rng.randrange(30))
                    device.restart()
                case 3:
                    self.server.store.fuse.set(self.rng.randrange(30))
                case 4 | 8:
                    await self._restore_or_back_up(device)
                case 5:
                    await self._without_crash(self.server.keep_house())
                case 6 if self.rng.random() < 0.3:
                    self.loop.jumped_ms += HUNDRED_DAYS_MS
                case 7:
                    device.skew_ms = self.rng.choice([0, HOUR_MS, -HOUR_MS])
                case 10:
                    self.server.files.cut_power()
                case 9 if self.is_cloned:
                    self._clone(self.rng.choice(self.apps))
                case _:
                    pass

    async def _restore_or_back_up(self, device: Device) -> None:
        if self.rng.random() < 0.5:
            self.server.back_up()
            device.keep_backup()
        elif self.is_server_restored:
            await self._without_crash(self.server.restore())
        elif self.is_device_restored:
            # Whatever it was doing ends with it.
            self._busy[device.name].cancel()
            await asyncio.gather(self._busy[device.name], return_exceptions=True)
            device.restore()
            self._start(device)

    def _clone(self, device: Device) -> None:
        """A disk is copied, and from now on both are in use as one device."""
        self.is_cloned = False
        clone = device.clone(f"{device.name}'s clone", self.loss)
        self.apps.append(clone)
        self._start(clone)

    async def _without_crash(self, work: object) -> None:
        with suppress(Crashed):
            await work  # type: ignore[misc]  # a coroutine

    async def _heal(self) -> None:
        """Everybody reaches the server again and looks until nothing new comes."""
        virtual_time.skew_ms.set(0)
        self.server.store.fuse.clear()
        await self.server.give_room(2**40)
        for device in self.devices:
            device.network.is_cut, device.network.loss, device.network.slowest_s = False, 0.0, 0.1
            device.store.fuse.clear()
        # What was sent twice arrives at last.
        await asyncio.sleep(60.0)
        for _ in range(ROUNDS):
            for device in self.devices:
                with suppress(Unreachable):
                    await device.exchange()
        await self.server.keep_house()

    async def _check(self) -> None:
        log = await pull(self.server.store, ACCOUNT, 0, 1_000_000, None)
        cells: dict[CellKey, Change] = {cell_key(change): change for change in log.changes}
        purged = {row["scope"] for row in await self.server.store.all(_PURGES)}
        self._check_purges(cells, purged)
        self._check_acknowledged(cells, purged)
        self._check_answers(cells)
        await self._check_files(cells)
        for device in self.devices:
            await self._check_device(device, cells, purged)

    async def _check_files(self, cells: dict[CellKey, Change]) -> None:
        """What was there when its name was acknowledged is there, and the books hold all that is kept (B3, B4, B6)."""
        named = {named_file(cell) for cell in cells.values()}
        for sha256 in sorted(self.server.kept & named):
            path = self.server.files.whole(ACCOUNT, sha256)
            assert path is not None, "an acknowledged file is lost"
            assert hashlib.sha256(path.read_bytes()).digest() == sha256
        sizes = [row["size"] for row in await self.server.store.all(select(blob.c.size))]
        [books] = await self.server.store.all(select(account.c.bytes_used))
        cost = sum(len(cell.value) + CELL_OVERHEAD_BYTES for cell in cells.values())
        assert books["bytes_used"] == cost + sum(sizes)

    def _check_purges(self, cells: dict[CellKey, Change], purged: set[bytes]) -> None:
        """Purge never resurrects (L18)."""
        assert {cell.scope for cell in cells.values() if not _is_tombstone(cell)}.isdisjoint(purged)

    def _check_acknowledged(self, cells: dict[CellKey, Change], purged: set[bytes]) -> None:
        """What was acknowledged is there or has been followed by a greater clock, and every purge holds (L10, L18)."""
        for device in self.devices:
            for change in device.network.acknowledged:
                if _is_tombstone(change):
                    assert change.scope in purged, f"{device.name}: an acknowledged purge was undone"
                elif change.scope not in purged:
                    held = cells.get(cell_key(change))
                    assert held is not None, f"{device.name}: an acknowledged change is missing"
                    assert held.clk >= change.clk, f"{device.name}: an acknowledged change was undone"

    def _check_answers(self, cells: dict[CellKey, Change]) -> None:
        """One answer, one generation: body and state are of one device, and one lease sealed it (Q9, Q10)."""
        for (etype, eid, field), state in cells.items():
            if etype == EntityType.MESSAGE and field == MessageField.STATE:
                body = cells[EntityType.MESSAGE, eid, MessageField.BODY]
                assert device_of(state.clk) == device_of(body.clk)
        if not self.is_server_restored:
            assert {answer for answer, tokens in self.server.seals.items() if len(tokens) > 1} == set()

    async def _check_device(self, device: Device, cells: dict[CellKey, Change], purged: set[bytes]) -> None:
        """Every device has the server's cells, knows so by the digest, and waits for nothing (L12, L20)."""
        held = await device.cells()
        theirs = {key: change for key, (change, seq) in held.items() if seq > 0 and not _is_tombstone(change)}
        assert theirs == {key: _plain(change) for key, change in cells.items() if not _is_tombstone(change)}, (
            f"{device.name} differs"
        )
        own = [change for change, seq in held.values() if seq <= 0 and not _is_tombstone(change)]
        assert own == [], f"{device.name} has what the server has not"
        assert await device.verify()


def _is_tombstone(change: Change) -> bool:
    return change.etype == EntityType.CONVERSATION and change.field == ConversationField.PURGED


def _plain(change: Change) -> Change:
    return Change(*(getattr(change, name) for name in Change.__struct_fields__))
