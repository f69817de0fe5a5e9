"""Runs over failures: of the engine, of the node, of the disk's content."""

from __future__ import annotations

import asyncio
from sqlite3 import OperationalError
from typing import TYPE_CHECKING

from inference_node.log import replica
from inference_node.runs import run_table
from shared.change import EntityType, MessageField
from shared.errors import Code, DomovoiError
from shared.runs import Ended, Text
from shared.values import State, decode
from tests.inference_node.running_node import RunningNode, new_id

if TYPE_CHECKING:
    import pytest

    from shared.change import Change
    from tests.inference_node.running_node import Event
    from tests.inference_node.scripted_engine import Script


def end_of(events: list[Event]) -> Ended:
    ended = events[-1].event
    assert isinstance(ended, Ended)
    return ended


async def cells(node: RunningNode, answer: bytes) -> dict[int, Change]:
    """Return the answer's cells in the node's replica, by field."""
    async with node.database() as database, database.transaction() as connection:
        query = "SELECT * FROM cell WHERE account_id = ? AND eid = ? AND etype = ?"
        rows = await connection.execute_fetchall(query, (node.account, answer, EntityType.MESSAGE))
        return {row["field"]: replica.to_change(row) for row in rows}


async def test_an_engine_that_fails_interrupts_and_keeps_the_text(node: RunningNode, script: Script) -> None:
    script.held = True
    answer = await node.ask()
    script.say("As far as ")
    script.crash()
    ended = end_of(await node.whole(answer))
    assert (ended.state.state, ended.state.code) == ("interrupted", "engine_failed")
    assert decode(ended.changes[0].value, str) == "As far as "
    # The next one starts a new engine.
    script.held = False
    assert end_of(await node.whole(await node.ask())).state.state == "done"
    assert len(script.loads) == 2


async def test_the_engine_is_started_again_without_being_asked(node: RunningNode, script: Script) -> None:
    script.held = True
    answer = await node.ask()
    script.say("Half a")
    script.crash()
    await node.whole(answer)

    async def is_started_again() -> bool:
        return len(script.loads) == 2 and (await node.http.get(f"{node.url}/healthz")).is_success

    await node.until(is_started_again)


async def test_an_engine_that_never_starts_is_unavailable(node: RunningNode, script: Script) -> None:
    script.held = True
    answer = await node.ask()
    script.load_failures = [DomovoiError(Code.ENGINE_FAILED) for _ in range(100)]
    script.crash()
    await node.whole(answer)
    response = await node.http.get(f"{node.url}/healthz")
    assert response.status_code >= 500
    ended = end_of(await node.whole(await node.ask()))
    assert (ended.state.state, ended.state.code) == ("failed", "engine_unavailable")


async def test_Q7_orphans_are_interrupted_with_their_text(node: RunningNode) -> None:
    answer, conversation = new_id(), new_id()
    await node.stop()
    async with node.database() as database, database.transaction() as connection:
        await run_table.claim(connection, node.account, answer, conversation)
        begun = run_table.Unfinished(node.account, answer, conversation, "")
        await run_table.begin(connection, begun, State(state="running"))
        await run_table.save_text(connection, node.account, answer, "Once upon")
    await node.restart()
    found = await cells(node, answer)
    assert decode(found[MessageField.BODY].value, str) == "Once upon"
    assert decode(found[MessageField.STATE].value, State) == State(state="interrupted", code="node_restarted")
    body = node.request(answer=answer, conversation=conversation)
    # Q2: asking again attaches to what became of it.
    response = await node.post(body, Accept="application/json")
    assert response.json()["state"] == "interrupted"


async def test_Q7_a_node_that_stops_in_order_interrupts_too(node: RunningNode, script: Script) -> None:
    script.held = True
    answer = await node.ask()
    watching = asyncio.create_task(node.whole(answer))
    script.say("Just be")
    async for event in node.watch(answer):
        if isinstance(event.event, Text):
            break
    http, node.http = node.http, type(node.http)(trust_env=False)
    await node.stop()
    ended = end_of(await watching)
    await http.aclose()
    assert (ended.state.state, ended.state.code) == ("interrupted", "node_restarted")
    assert decode((await cells(node, answer))[MessageField.BODY].value, str) == "Just be"


async def test_what_was_only_queued_is_free_again_after_a_restart(node: RunningNode, script: Script) -> None:
    body = node.request()
    await node.stop()
    async with node.database() as database, database.transaction() as connection:
        await run_table.claim(connection, node.account, body.answer, body.conversation)
    await node.restart()
    await node.post(body)
    assert end_of(await node.whole(body.answer)).state.state == "done"
    assert len(script.prompts) == 1


async def test_a_model_that_appears_is_loaded(node: RunningNode, script: Script) -> None:
    await node.stop()
    model = next(node.settings.models.iterdir())
    model.rename(model.with_suffix(".away"))
    node.http = type(node.http)(trust_env=False)
    await node.start(wait_for_engine=False)

    async def is_missing() -> bool:
        response = await node.http.get(f"{node.url}/healthz")
        return (response.status_code, response.json().get("code")) == (404, "model_missing")

    await node.until(is_missing)
    assert end_of(await node.whole(await node.ask())).state.code == "model_missing"
    model.with_suffix(".away").rename(model)

    async def is_ready() -> bool:
        return (await node.http.get(f"{node.url}/healthz")).is_success

    await node.until(is_ready)


async def test_another_model_is_loaded_when_asked_for(node: RunningNode, script: Script) -> None:
    node.add_scripted_model("Other-Model.gguf")
    for model in ("Other Model", "Test-Model.gguf", "Other-Model"):
        ended = end_of(await node.whole(await node.ask(model=model)))
        assert ended.state.state == "done"
        assert ended.state.model is not None
        assert ended.state.model.split()[0] == model[: model.index("Model") - 1]
    # Both have room, so each is loaded once.
    assert len(script.loads) == 2


async def test_runs_are_counted(node: RunningNode) -> None:
    async def count() -> float:
        text = (await node.http.get(f"{node.url}/metrics")).text
        line = next(line for line in text.splitlines() if line.startswith("domovoi_runs_started_total "))
        return float(line.split()[1])

    before = await count()
    await node.whole(await node.ask())
    assert await count() == before + 1


async def test_an_answer_that_can_not_be_written_ends_for_its_watchers_and_wedges_nobody(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full_disk(*given: object) -> list[Change]:
        raise OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(run_table, "finish", full_disk)
        ended = end_of(await node.whole(await node.ask()))
    assert (ended.state.state, ended.state.code, ended.changes) == ("failed", "internal", [])
    assert end_of(await node.whole(await node.ask())).state.state == "done"
