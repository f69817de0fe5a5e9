"""Rules L18, L19 and L22: a conversation that was purged stays purged, and its tombstone goes when all have read it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from shared.change import ConversationField, EntityType
from shared.limits import TOMBSTONE_KEPT_S
from shared.wire import Usage
from sync_server import clock
from sync_server.log.purges import expire_tombstones
from sync_server.store.database import Database
from sync_server.store.dialect import dialect_for
from tests.sync_server.device import Device, code_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.change import Change
    from tests.sync_server.running_server import RunningServer, SetAccount


@pytest.fixture
def expire(shared_server: RunningServer) -> Callable[[Device], int]:
    """Return a function that does what housekeeping does for an account."""

    async def work(account_id: bytes) -> int:
        database = Database(dialect_for(shared_server.settings.database_url, shared_server.settings.data))
        await database.open()
        try:
            return await expire_tombstones(database, account_id)
        finally:
            await database.close()

    return lambda device: asyncio.run(work(device.account_id))


def purge_of(device: Device, scope: bytes) -> Change:
    return device.change(b"\xc3", etype=EntityType.CONVERSATION, eid=scope, field=ConversationField.PURGED, scope=scope)


def used(device: Device) -> int:
    return msgspec.json.decode(device.request("GET", "/api/v1/usage").content, type=Usage).bytes_used


def test_L18_a_purge_leaves_the_tombstone_alone_and_frees_the_space(device: Device) -> None:
    scope = os.urandom(16)
    elsewhere = device.write(b"elsewhere")
    before = used(device)
    device.push(*(device.change(os.urandom(1000), etype=3, scope=scope) for _ in range(5)))
    device.write(etype=EntityType.CONVERSATION, eid=scope, scope=scope)
    tombstone = purge_of(device, scope)
    assert device.push(tombstone).rejected == []
    assert [change.clk for change in device.pull().changes] == [elsewhere.clk, tombstone.clk]
    assert used(device) - before == 128 + 1
    response = device.request("GET", f"/api/v1/sync/scopes/{scope.hex()}", headers={"accept": "application/json"})
    assert len(response.json()["changes"]) == 1


def test_L18_what_is_written_to_it_later_is_acknowledged_and_dropped(device: Device) -> None:
    other = device.sibling()
    scope = os.urandom(16)
    before, tombstone, after = device.change(scope=scope), purge_of(device, scope), device.change(scope=scope)
    assert device.push(before, tombstone, after).acked_dseq == 3
    late = [other.change(scope=scope, etype=3), purge_of(other, scope), other.change(b"elsewhere")]
    pushed = other.push(*late)
    assert (pushed.acked_dseq, pushed.rejected) == (3, [])
    assert [change.clk for change in device.pull().changes] == [tombstone.clk, late[2].clk]


def test_L18_only_the_conversations_own_field_is_a_purge(device: Device) -> None:
    scope = os.urandom(16)
    kept = device.write(scope=scope, etype=3)
    device.write(etype=EntityType.CONVERSATION, eid=os.urandom(16), field=ConversationField.PURGED, scope=scope)
    device.write(etype=EntityType.MESSAGE, eid=scope, field=ConversationField.PURGED, scope=scope)
    assert kept.clk in {change.clk for change in device.pull().changes}


def test_L18_a_replayed_purge_is_a_no_op(device: Device) -> None:
    scope = os.urandom(16)
    batch = device.batch([device.change(scope=scope), purge_of(device, scope)])
    assert [device.send(batch).status_code for _ in range(2)] == [200, 200]
    assert device.pull().head == 2


def test_L22_a_full_account_can_purge(device: Device, set_account: SetAccount) -> None:
    scope = os.urandom(16)
    device.push(*(device.change(bytes(1000), scope=scope, etype=3) for _ in range(3)))
    set_account(device, quota_bytes=1)
    assert code_of(device.send(device.batch([device.change()]))) == (507, "quota_exceeded")
    assert len(device.pull().changes) == 3, "pulls are never refused"
    assert device.push(purge_of(device, scope)).rejected == []
    assert used(device) == 129


def test_L19_a_tombstone_waits_for_every_live_device(device: Device, expire: Callable[[Device], int]) -> None:
    other = device.sibling()
    device.sibling()
    # What is disconnected has not to read anything, nodes among them.
    for each in device.request("GET", "/api/v1/devices").json()["devices"]:
        if each["device_id"] not in {device.session.device_id, other.session.device_id}:
            assert device.request("DELETE", f"/api/v1/devices/{each['device_id']}").status_code == 204
    device.write()
    scope = os.urandom(16)
    device.push(device.change(scope=scope), purge_of(device, scope))
    device.write()
    device.pull(4)
    other.pull(1)
    assert expire(device) == 0
    other.pull(3)
    assert expire(device) == 1
    assert [change.seq for change in device.pull().changes] == [1, 4]
    assert code_of(device.request("GET", f"/api/v1/sync/pull?since=2&epoch={device.epoch}")) == (410, "history_trimmed")
    assert [change.seq for change in device.pull(3).changes] == [4]
    assert expire(device) == 0


def test_L18_L19_a_stale_device_delivers_its_outbox_and_brings_nothing_back(
    device: Device, expire: Callable[[Device], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = device.sibling()
    scope = os.urandom(16)
    device.write(scope=scope, etype=3)
    stale.pull(1)
    device.push(purge_of(device, scope))
    real = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: real() + TOMBSTONE_KEPT_S * 1000 + 1000)
    assert expire(device) == 1
    monkeypatch.undo()
    assert code_of(stale.request("GET", f"/api/v1/sync/pull?since=1&epoch={stale.epoch}")) == (410, "history_trimmed")
    fresh = stale.change(b"fresh")
    pushed = stale.push(stale.change(scope=scope, etype=3), purge_of(stale, scope), fresh)
    assert (pushed.acked_dseq, pushed.rejected) == (3, [])
    assert [change.clk for change in stale.pull().changes] == [fresh.clk]
