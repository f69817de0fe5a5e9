"""Rules Q9 and Q10 with two real nodes and a real server: one answer, whoever gives it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from inference_node.log import claims, own_log, replica
from inference_node.server.identity import enrol
from inference_node.server.server_api import ServerApi
from shared.change import MessageField
from tests.inference_node.asking import Asking, until_served
from tests.inference_node.running_node import RunningNode
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.sync_server.running_server import RunningServer


@pytest.fixture
async def other_script() -> Script:
    return Script(answer="The other one says so.")


@pytest.fixture
async def other_node(
    server: RunningServer, asking: Asking, other_script: Script, tmp_path: Path
) -> AsyncIterator[RunningNode]:
    """A second node of the same account."""
    node = RunningNode(tmp_path / "other", make_engine=other_script.make_engine, server_url=server.url)
    node.add_scripted_model()
    enrol(server.settings.data, node.identity)
    api = ServerApi(server.url)
    await api.log_in(node.identity.assertion(time.time(), os.urandom(8).hex()))
    await api.close()
    await node.start()
    await until_served(node, asking.device)
    yield node
    await node.stop()


def in_server_database(server: RunningServer, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(server.settings.data / "server.db")) as database, database:
        database.execute(statement, parameters)


async def test_Q9_what_is_asked_of_any_node_is_answered_once(
    asking: Asking, other_node: RunningNode, script: Script, other_script: Script
) -> None:
    answers = [asking.ask(f"Number {number}?", node=None) for number in range(5)]
    for answer in answers:
        assert (await asking.until(answer, "done")).body in {script.answer, other_script.answer}
    assert len(script.prompts) + len(other_script.prompts) == len(answers)


async def test_Q9_a_branch_asked_of_any_node_is_answered_in_order(
    asking: Asking, other_node: RunningNode, script: Script, other_script: Script
) -> None:
    first, changes = asking.request("One?", node=None)
    second, more = asking.request("Two?", first, node=None)
    asking.device.push(*changes, *more)
    await asking.until(second, "done")
    prompts = sorted(len(prompt.messages) for prompt in [*script.prompts, *other_script.prompts])
    assert prompts == [1, 3]


async def test_Q9_a_stop_before_the_claim_is_written_by_whoever_claims(asking: Asking, script: Script) -> None:
    answer, changes = asking.request("Never mind.", node=None)
    asking.device.push(*changes, asking.write(MessageField.STOP, answer, True))
    assert (await asking.until(answer, "stopped")).body == ""
    assert script.prompts == []


async def test_Q9_a_request_is_taken_over_from_a_node_that_died_before_it_began(
    server: RunningServer, asking: Asking, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CLAIM_AGAIN_S", 0.02)
    answer, changes = asking.request("Anybody?", node=None)
    row = (asking.device.account_id, answer, os.urandom(16), os.urandom(16))
    in_server_database(server, "INSERT INTO lease VALUES (?, ?, ?, ?, 9999999999999)", *row)
    asking.device.push(*changes)
    await asking.until(asking.ask("Me?"), "done")
    assert asking.message(answer).state is None
    in_server_database(server, "UPDATE lease SET expires_ms = 0")
    assert (await asking.until(answer, "done")).body == script.answer


async def test_Q10_a_late_answer_is_refused_and_taken_back(
    server: RunningServer, asking: Asking, joined_node: RunningNode, script: Script
) -> None:
    script.held = True
    answer = asking.ask("Anybody?", node=None)
    await asking.until(answer, "running")
    in_server_database(server, "UPDATE lease SET token = ?, node_id = ?", os.urandom(16), os.urandom(16))
    script.say("Too late.")
    script.finish()
    script.held = False
    # What names the node goes on behind what is taken back.
    after = asking.ask("Me?")
    assert (await asking.until(after, "done")).body == script.answer

    async def is_taken_back() -> bool:
        async with joined_node.database() as database, database.transaction() as connection:
            waiting = await own_log.waiting(connection, asking.device.account_id)
            cells = await replica.cells_of_scope(connection, asking.device.account_id, asking.conversation)
        bodies = {cell.eid for cell in cells if cell.field == MessageField.BODY}
        return not waiting and answer not in bodies and after in bodies

    await joined_node.until(is_taken_back)
    message = await asyncio.to_thread(asking.message, answer)
    assert (message.body, message.state and message.state.state) == ("", "running")
