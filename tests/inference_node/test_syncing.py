"""The node's log and the server's, through wrong clocks and restored backups."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from inference_node import clock as node_clock
from inference_node.log import own_log
from tests.inference_node.asking import Asking, until_served
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    import pytest

    from tests.inference_node.running_node import RunningNode
    from tests.inference_node.scripted_engine import Script

WITHIN_S = 20.0


def in_server_database(server: RunningServer, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(server.settings.data / "server.db")) as database, database:
        database.execute(statement, parameters)


async def test_C6_a_node_whose_clock_is_ahead_is_heard(
    server: RunningServer, joined_node: RunningNode, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await asyncio.to_thread(server.first_account)
    asking = Asking(device, joined_node.node_id)
    headers = await until_served(joined_node, device)
    real = node_clock.now_ms
    monkeypatch.setattr(node_clock, "now_ms", lambda: real() + 3_600_000)
    answer, changes = asking.request("Hello?")
    body = joined_node.request(answer=answer, conversation=asking.conversation)
    await joined_node.post(body, **headers)
    device.push(*changes)
    assert (await asking.until(answer, "done")).body == script.answer


async def test_L14_a_server_from_a_backup_gets_back_what_it_lost(
    server: RunningServer, asking: Asking, joined_node: RunningNode, script: Script
) -> None:
    kept = asking.ask("One?")
    await asking.until(kept, "done")
    data = server.settings.data
    with closing(sqlite3.connect(data / "server.db")) as live, closing(sqlite3.connect(data / "backup.db")) as backup:
        live.backup(backup)
    lost = asking.ask("Two?", kept)
    await asking.until(lost, "done")
    body = asking.message(lost).body
    port = server.port
    await joined_node.stop()
    server.stop()
    with closing(sqlite3.connect(data / "server.db")) as live, closing(sqlite3.connect(data / "backup.db")) as backup:
        backup.backup(live)
    in_server_database(server, "UPDATE account SET epoch = epoch + 1")
    again = RunningServer(data, port=port)
    try:
        asking.device.http = again.client()
        await joined_node.restart()
        message = await asking.until(lost, "done")
        assert message.body == body
        assert asking.message(kept).state is not None
    finally:
        await joined_node.stop()
        again.stop()


async def test_L8_a_node_from_a_backup_goes_on_as_a_new_device_and_loses_nothing(
    asking: Asking, joined_node: RunningNode, script: Script
) -> None:
    data = joined_node.settings.folder
    await joined_node.stop()
    with (
        closing(sqlite3.connect(data / "node.db")) as live,
        closing(sqlite3.connect(data / "backup.db")) as backup,
    ):
        live.backup(backup)
    await joined_node.restart()
    before = nodes_among_devices(asking)
    first = asking.ask("One?")
    await asking.until(first, "done")
    await joined_node.stop()
    with (
        closing(sqlite3.connect(data / "node.db")) as live,
        closing(sqlite3.connect(data / "backup.db")) as backup,
    ):
        backup.backup(live)
    await joined_node.restart()
    second = asking.ask("Two?", first)
    assert (await asking.until(second, "done")).body == script.answer
    assert (await asking.until(first, "done")).body == script.answer, "what the lost history wrote is still there"
    after = nodes_among_devices(asking)
    assert len(before) == len(after) == 1
    assert before != after
    async with joined_node.database() as database, database.transaction() as connection:
        assert await own_log.waiting(connection, asking.device.account_id) == []


def nodes_among_devices(asking: Asking) -> list[str]:
    """Return the ids of the account's living devices that are nodes."""
    devices = asking.device.request("GET", "/api/v1/devices").json()["devices"]
    return [device["device_id"] for device in devices if device["kind"] == "node"]
