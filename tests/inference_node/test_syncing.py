"""The node's log and the server's, through wrong clocks and restored backups."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from inference_node import clock as node_clock
from inference_node import replica
from shared.runs import Ended
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


async def test_L8_a_node_from_a_backup_goes_on_answering_and_keeps_what_it_can_not_push(
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
    async with asyncio.timeout(WITHIN_S):
        while len(script.prompts) < 2:  # noqa: ASYNC110  # the script has no event for it
            await asyncio.sleep(0.02)
    third = asking.ask("Three?")
    headers = await until_served(joined_node, asking.device)
    body = joined_node.request(answer=third, conversation=asking.conversation)
    await joined_node.post(body, **headers)
    events = await joined_node.whole(third, headers=headers)
    assert isinstance(events[-1].event, Ended)
    async with joined_node.database() as database, database.transaction() as connection:
        waiting = await replica.waiting(connection, asking.device.account_id)
    # Running, body and state of both, and none of it where another history of this device is.
    assert [change.eid for change in waiting] == [second] * 3 + [third] * 3
    assert asking.message(second).state is None
