"""The exchange of a replica with the server, one promise at a time, in a calm world."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference_node import clock as device_clock
from inference_node.log import own_log, replica
from inference_node.log.replica import Write
from shared.change import Change, ConversationField, EntityType, MessageField
from shared.limits import LEASE_S
from shared.wire import IfLease, LeaseRequest
from sync_server import clock as server_clock
from sync_server.log.pull import pull
from sync_server.nodes.nodes import NodeKey
from tests.simulation import virtual_time
from tests.simulation.device import SEAL, Device, Node
from tests.simulation.server import ACCOUNT, SimulatedServer
from tests.simulation.stores import Crashed
from tests.simulation.world import HOUR_MS, HUNDRED_DAYS_MS, TEN_YEARS_MS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SCOPE = b"\x05" * 16
OTHER_SCOPE = b"\x06" * 16


NODES = [NodeKey(bytes([number]) * 16, "PC", bytes([number]) * 32) for number in (1, 2)]


def in_calm_world(play: Callable[[SimulatedServer, virtual_time.VirtualLoop], Awaitable[None]]) -> None:
    """Run a test in virtual time."""
    loop = virtual_time.VirtualLoop()
    rng = random.Random(8460)

    async def live() -> None:
        server = SimulatedServer(Path(folder), rng)
        await server.begin(NODES)
        await play(server, loop)

    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(secrets, "token_bytes", lambda count=32: rng.randbytes(count))
        patch.setattr(asyncio, "to_thread", virtual_time.at_once)
        patch.setattr(server_clock, "now_ms", loop.now_ms)
        patch.setattr(device_clock, "now_ms", loop.skewed_ms)
        virtual_time.run(live(), loop)


async def joined(server: SimulatedServer, name: str = "app", skew_ms: int = 0) -> Device:
    """Return a device that has read the log once."""
    device = Device(server, random.Random(name), 0.0, name)
    device.skew_ms = skew_ms
    await device.exchange()
    return device


async def write(device: Device, value: Any, field: int = MessageField.BODY, scope: bytes = SCOPE) -> Change:
    virtual_time.skew_ms.set(device.skew_ms)
    async with device.store.transaction() as connection:
        write = Write(EntityType.MESSAGE, scope[:15] + b"\x01", field, scope, value)
        [change] = await replica.write(connection, ACCOUNT, [write])
    return change


async def held(device: Device) -> list[Change]:
    return [change for change, _ in (await device.cells()).values()]


async def on_server(server: SimulatedServer) -> list[bytes]:
    return [change.clk for change in (await pull(server.store, ACCOUNT, 0, 1000, None)).changes]


SKEWS = st.sampled_from([0, HOUR_MS, -HOUR_MS, TEN_YEARS_MS, -TEN_YEARS_MS])


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(first=SKEWS, second=SKEWS, jump=SKEWS)
def test_C4_C6_a_clock_off_by_an_hour_or_ten_years_blocks_nobody(first: int, second: int, jump: int) -> None:
    async def play(server: SimulatedServer, _: virtual_time.VirtualLoop) -> None:
        one, other = await joined(server, "one", first), await joined(server, "other", second)
        await write(one, "by the first")
        await one.exchange()
        await asyncio.sleep(1.0)
        # Somebody sets the clock while the device is offline.
        other.skew_ms += jump
        await write(other, "by the second, later")
        await other.exchange()
        await other.exchange()
        await asyncio.sleep(61.0)
        await write(one, "by the first again")
        for device in (one, other, one):
            await device.exchange()
            async with device.store.transaction() as connection:
                assert await own_log.waiting(connection, ACCOUNT) == []
        assert await held(one) == await held(other)
        assert len(await held(one)) == 1

    in_calm_world(play)


def test_L3_V2_unknown_fields_survive_an_old_client_and_a_restored_backup() -> None:
    async def play(server: SimulatedServer, _: virtual_time.VirtualLoop) -> None:
        new, old = await joined(server, "new"), await joined(server, "old")
        server.back_up()
        later = {"role": "user", "parent": None, "of a later version": [1, b"\x00"]}
        header = await write(new, later, MessageField.HEADER)
        unknown = await write(new, "?", 4242)
        await new.exchange()
        await old.exchange()
        await write(old, "its own")
        await server.restore()
        await old.exchange()
        clocks = await on_server(server)
        assert {header.clk, unknown.clk} <= set(clocks)
        reader = await joined(server, "reader")
        assert {header, unknown} <= set(await held(reader)), "to the byte"

    in_calm_world(play)


def test_L19_a_stale_device_reads_anew_keeps_its_outbox_and_brings_nothing_back() -> None:
    async def play(server: SimulatedServer, loop: virtual_time.VirtualLoop) -> None:
        here, away = await joined(server, "here"), await joined(server, "away")
        await write(here, "to be purged")
        kept = await write(here, "kept", scope=OTHER_SCOPE)
        await here.exchange()
        await away.exchange()
        await write(away, "written in what is purged meanwhile", MessageField.STOP)
        fresh = await write(away, "written elsewhere", MessageField.STOP, OTHER_SCOPE)
        async with here.store.transaction() as connection:
            purge = Write(EntityType.CONVERSATION, SCOPE, ConversationField.PURGED, SCOPE, True)
            await replica.write(connection, ACCOUNT, [purge])
        await here.exchange()
        loop.jumped_ms += HUNDRED_DAYS_MS
        await server.keep_house()
        await away.exchange()
        assert sorted(await on_server(server)) == sorted([kept.clk, fresh.clk])
        assert {change.clk for change in await held(away)} == {kept.clk, fresh.clk}
        await here.exchange()
        assert await here.verify()
        assert await away.verify()

    in_calm_world(play)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_L20_a_silent_gap_is_found_and_mended(data: st.DataObject) -> None:
    async def play(server: SimulatedServer, _: virtual_time.VirtualLoop) -> None:
        writer, reader = await joined(server, "writer"), await joined(server, "reader")
        for number in range(data.draw(st.integers(1, 12))):
            await write(writer, number, 100 + number)
        await writer.exchange()
        await reader.exchange()
        assert await reader.verify()
        cells = sorted((await reader.cells()).keys())
        lost = data.draw(st.sampled_from(cells))
        async with reader.store.transaction() as connection:
            query = "DELETE FROM cell WHERE etype = ? AND eid = ? AND field = ?"
            if data.draw(st.booleans()):
                query = "UPDATE cell SET clk = zeroblob(16) WHERE etype = ? AND eid = ? AND field = ?"
            await connection.execute(query, lost)
        assert not await reader.verify()
        await reader.exchange()
        assert await reader.verify()
        assert set(await held(reader)) == set(await held(writer))

    in_calm_world(play)


@pytest.mark.parametrize("statements", range(30))
def test_Q10_an_answer_whose_lease_was_lost_is_taken_back_whole_or_not_at_all(statements: int) -> None:
    """Found by the simulation: a node that was cut while it took its answer back never read the one that counts."""

    async def play(server: SimulatedServer, loop: virtual_time.VirtualLoop) -> None:
        app, answer = await joined(server), SCOPE[:15] + b"\x01"
        late, quick = (Node(server, random.Random(key.node_id), 0.0, key.name, key.node_id) for key in NODES)
        await write(app, "asked", MessageField.REQUEST)
        await app.exchange()
        leases = {}
        for node in (late, quick):
            await node.exchange()
            lease = await server.lease(await node.token(ACCOUNT) or "", LeaseRequest(answer, "claim"))
            leases[node] = IfLease(answer, lease.token)
            loop.jumped_ms += (LEASE_S + 1) * 1000
        # The late one has read the other's before it writes its own over it.
        for node in (quick, late):
            await node.exchange()
            writes = [Write(EntityType.MESSAGE, answer, field, SCOPE, node.name) for field in SEAL]
            async with node.store.transaction() as connection:
                await replica.write(connection, ACCOUNT, writes, leases[node])
            if node is quick:
                await node.exchange()
        late.store.fuse.set(statements)
        with contextlib.suppress(Crashed):
            await late.exchange()
        late.store.fuse.clear()
        await late.exchange()
        await app.exchange()
        assert set(await held(late)) == set(await held(quick)) == set(await held(app))
        assert await late.verify()

    in_calm_world(play)


def test_L21_bootstrap_never_adopts_another_history_silently() -> None:
    """Found by the simulation: a device whose cursor was still 0 took the new epoch over and lost what was acked."""

    async def play(server: SimulatedServer, _: virtual_time.VirtualLoop) -> None:
        device = await joined(server)
        server.back_up()
        change = await write(device, "acknowledged")
        exchange = device.network.push

        async def push_and_crash(token: str, batch: Any) -> Any:
            await exchange(token, batch)
            async with device.store.transaction() as connection:
                await own_log.acknowledge(connection, ACCOUNT, 1)
            raise ConnectionError

        device.network.push = push_and_crash  # type: ignore[method-assign]
        with pytest.raises(ConnectionError):
            await device.exchange()
        device.network.push = exchange  # type: ignore[method-assign]
        await server.restore()
        await device.exchange()
        assert await on_server(server) == [change.clk]

    in_calm_world(play)
