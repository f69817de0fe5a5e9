"""Answers over HTTP, from a start to the end, through the loopback application."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from shared import values
from shared.change import MessageField
from shared.runs import Ended, RunEvent, Started, Text
from shared.values import Request, Sampling, State
from shared.wire import PathMessage
from tests.inference_node.running_node import ORIGIN, add_tiny_model, eventually, new_id, running_node
from tests.inference_node.scripted_engine import CONTEXT_CHARACTERS, ScriptedEngine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.inference_node.running_node import RunningNode


def texts(events: list[RunEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


async def test_S2_texts_joined_are_the_body_and_ended_is_last(node: RunningNode) -> None:
    wanted = node.wanted()
    assert await node.start(wanted) == "queued"
    events = [event.body for event in await node.events(wanted.answer)]
    assert events[0] == Started("Tiny", "scripted")
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended.state.state == "done"
    assert ended.state.completion_tokens == 3
    body, state = ended.changes
    assert values.decode(body.value, str) == texts(events) == "Hello 🐈!"
    assert values.decode(state.value, State) == ended.state
    assert [change.field for change in ended.changes] == [MessageField.BODY, MessageField.STATE]


async def test_S1_events_are_numbered_from_one_without_gaps(node: RunningNode) -> None:
    wanted = node.wanted()
    await node.start(wanted)
    events = await node.events(wanted.answer)
    assert [event.id for event in events] == [f"{wanted.answer.hex()}:{n}" for n in range(1, len(events) + 1)]
    assert [event.kind for event in events] == [type(event.body).__name__.lower() for event in events]


async def test_S3_a_cut_watcher_goes_on_after_the_last_event_it_saw(node: RunningNode, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    wanted = node.wanted()
    await node.start(wanted)
    seen = []
    watching = node.watch(wanted.answer)
    async for event in watching:
        seen.append(event)
        if isinstance(event.body, Text):
            break
    await watching.aclose()  # type: ignore[attr-defined]
    engine.gate.set()
    seen += await node.events(wanted.answer, after=len(seen))
    assert [event.id.rpartition(":")[2] for event in seen] == [str(n) for n in range(1, len(seen) + 1)]
    assert texts([event.body for event in seen]) == "Hello 🐈!"
    assert len(engine.prompts) == 1


async def test_Q2_starting_twice_attaches_to_one_generation(node: RunningNode, engine: ScriptedEngine) -> None:
    wanted = node.wanted()
    states = await asyncio.gather(*(node.start(wanted) for _ in range(5)))
    assert set(states) <= {"queued", "running", "done"}
    await node.ended(wanted.answer)
    assert await node.start(wanted) == "done"
    assert len(engine.prompts) == 1


async def test_Q2_a_run_of_an_earlier_process_is_not_run_again(tmp_path: Path) -> None:
    add_tiny_model(tmp_path)
    engine = ScriptedEngine()
    async with running_node(tmp_path, engine) as node:
        wanted = node.wanted()
        await node.start(wanted)
        await node.ended(wanted.answer)
    async with running_node(tmp_path, engine) as node:
        assert await node.start(wanted) == "done"
        gone = await node.http.get(f"/v1/answers/{wanted.answer.hex()}/events", headers=node.bearer())
        assert (gone.status_code, gone.json()["code"]) == (410, "events_gone")
    assert len(engine.prompts) == 1


async def test_stop_keeps_the_text_so_far(node: RunningNode, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    wanted = node.wanted()
    await node.start(wanted)
    await engine.has_paused.wait()
    assert (await node.stop(wanted.answer)).status_code == 204
    ended = await node.ended(wanted.answer)
    assert ended.state.state == "stopped"
    assert values.decode(ended.changes[0].value, str) == "Hel"
    assert (await node.stop(wanted.answer)).status_code == 204


async def test_Q6_stopped_in_the_queue_it_never_reaches_the_engine(node: RunningNode, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    first, second = node.wanted(), node.wanted()
    await node.start(first)
    await engine.has_paused.wait()
    await node.start(second)
    await node.stop(second.answer)
    assert (await node.ended(second.answer)).state.state == "stopped"
    engine.gate.set()
    assert (await node.ended(first.answer)).state.state == "done"
    assert len(engine.prompts) == 1


async def test_stopped_while_the_model_loads(tmp_path: Path) -> None:
    add_tiny_model(tmp_path)
    engine = ScriptedEngine()
    engine.load_gate.clear()
    async with running_node(tmp_path, engine) as node:
        wanted = node.wanted()
        await node.start(wanted)
        await node.stop(wanted.answer)
        assert (await node.ended(wanted.answer)).state.state == "stopped"
        engine.load_gate.set()
        await node.until_healthy()


async def test_an_engine_that_dies_in_mid_answer_interrupts_it_and_comes_back(
    node: RunningNode, engine: ScriptedEngine
) -> None:
    await node.until_healthy()
    engine.dies = True
    engine.gate.clear()
    wanted = node.wanted()
    await node.start(wanted)
    await engine.has_paused.wait()
    engine.gate.set()
    ended = await node.ended(wanted.answer)
    assert (ended.state.state, ended.state.code) == ("interrupted", "engine_failed")
    assert values.decode(ended.changes[0].value, str) == "Hel"
    engine.dies = False
    again = node.wanted()
    await node.start(again)
    assert (await node.ended(again.answer)).state.state == "done"
    assert len(engine.loads) == 2


async def test_Q7_an_orderly_stop_interrupts_with_the_text_there_is(tmp_path: Path) -> None:
    add_tiny_model(tmp_path)
    engine = ScriptedEngine()
    engine.gate.clear()
    async with running_node(tmp_path, engine) as node:
        wanted = node.wanted()
        await node.start(wanted)
        watching = asyncio.create_task(node.ended(wanted.answer))
        await engine.has_paused.wait()
        # The watcher's request must be in before the node stops taking any.
        await anext(node.watch(wanted.answer))
    ended = await watching
    assert (ended.state.state, ended.state.code) == ("interrupted", "node_restarted")
    assert values.decode(ended.changes[0].value, str) == "Hel"


async def test_a_model_that_is_not_there_fails_the_answer(node: RunningNode) -> None:
    wanted = node.wanted(model="Nowhere")
    await node.start(wanted)
    ended = await node.ended(wanted.answer)
    assert (ended.state.state, ended.state.code) == ("failed", "model_missing")


async def test_another_model_is_loaded_for_the_answer_that_names_it(node: RunningNode, engine: ScriptedEngine) -> None:
    add_tiny_model(node.data, "Other.Q8_0.gguf")
    for name in ("Other", "Tiny", None):
        wanted = node.wanted(model=name)
        await node.start(wanted)
        assert (await node.ended(wanted.answer)).state.model == (name or "Other")
    assert [path.name for path in engine.loads][-2:] == ["Tiny-Q4_0.gguf", "Other.Q8_0.gguf"]


async def test_a_message_too_long_fails_the_answer(node: RunningNode) -> None:
    wanted = node.wanted("x" * (CONTEXT_CHARACTERS + 1))
    await node.start(wanted)
    ended = await node.ended(wanted.answer)
    assert (ended.state.state, ended.state.code) == ("failed", "context_too_long")


async def test_sampling_reaches_the_engine(node: RunningNode, engine: ScriptedEngine) -> None:
    wanted = node.wanted(sampling=Sampling(temperature=0.5, seed=7, max_tokens=2))
    await node.start(wanted)
    assert values.decode((await node.ended(wanted.answer)).changes[0].value, str) == "Hello "
    assert engine.prompts[0].sampling == Sampling(temperature=0.5, seed=7, max_tokens=2)


async def test_a_full_queue_is_said_and_starts_nothing(node: RunningNode, engine: ScriptedEngine) -> None:
    engine.gate.clear()
    wanted = [node.wanted() for _ in range(18)]
    responses = [await node.post(one) for one in wanted]
    assert [r.status_code for r in responses] == [200] * 17 + [503]
    assert responses[-1].json()["code"] == "engine_busy"
    engine.gate.set()
    await node.ended(wanted[16].answer)
    assert await node.start(wanted[17]) == "queued"


async def test_Q1_a_request_of_another_node_is_refused(node: RunningNode) -> None:
    for named in (new_id(), None):
        response = await node.post(node.wanted(request=Request(named)))
        assert (response.status_code, response.json()["code"]) == (400, "bad_request")


async def test_answers_of_other_accounts_are_unknown(node: RunningNode) -> None:
    wanted = node.wanted()
    await node.start(wanted)
    stranger = node.bearer(sub=new_id().hex())
    for method, path in (("GET", "events"), ("POST", "stop")):
        response = await node.http.request(method, f"/v1/answers/{wanted.answer.hex()}/{path}", headers=stranger)
        assert (response.status_code, response.json()["code"]) == (404, "node_unknown")
    await node.ended(wanted.answer)


@pytest.mark.parametrize("answer_id", ["00" * 16, "x", "AB" * 16, "00" * 15])
async def test_an_unknown_answer(node: RunningNode, answer_id: str) -> None:
    for method, path in (("GET", "events"), ("POST", "stop")):
        response = await node.http.request(method, f"/v1/answers/{answer_id}/{path}", headers=node.bearer())
        assert (response.status_code, response.json()["code"]) == (404, "answer_unknown")


@pytest.mark.parametrize("last", ["x", "1", "00:1", "-1"])
async def test_a_strange_last_event_is_refused(node: RunningNode, last: str) -> None:
    wanted = node.wanted()
    await node.start(wanted)
    await node.ended(wanted.answer)
    path = f"/v1/answers/{wanted.answer.hex()}/events"
    by_header = await node.http.get(path, headers=node.bearer() | {"last-event-id": last})
    assert by_header.json()["code"] == "bad_request"
    if last != "1":
        by_query = await node.http.get(path, params={"after": last}, headers=node.bearer())
        assert by_query.json()["code"] == "bad_request"
    beyond = await node.http.get(path, params={"after": 99}, headers=node.bearer())
    assert (beyond.status_code, beyond.json()["code"]) == (410, "events_gone")


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", "application/json", "bad_request"),
        (b"\xc1", "application/msgpack", "bad_request"),
        (b"{}", "text/plain", "unsupported_media_type"),
        (b'{"answer":"x"}', "application/json", "bad_request"),
        (b"[" * 100_000, "application/json", "bad_request"),
        (b"x" * (4 * 1024 * 1024 + 1), "application/json", "body_too_large"),
    ],
)
async def test_bad_bodies_are_refused(node: RunningNode, body: bytes, content_type: str, code: str) -> None:
    headers = node.bearer() | {"content-type": content_type}
    response = await node.http.post("/v1/answers", content=body, headers=headers)
    assert response.json()["code"] == code
    assert response.headers["content-type"] == "application/problem+json"


async def test_W1_json_is_spoken_too(node: RunningNode) -> None:
    wanted = node.wanted()
    response = await node.http.post(
        "/v1/answers",
        content=msgspec.json.encode(wanted),
        headers=node.bearer() | {"content-type": "application/json", "accept": "application/msgpack", "origin": ORIGIN},
    )
    assert msgspec.msgpack.decode(response.content) == {"answer": wanted.answer, "state": "queued"}
    await node.ended(wanted.answer)


async def test_a_long_path_reaches_the_engine_in_order(node: RunningNode, engine: ScriptedEngine) -> None:
    path = [PathMessage("system", "Be brief."), PathMessage("user", "1"), PathMessage("assistant", "2")]
    path.append(PathMessage("user", "3"))
    wanted = node.wanted(path=path)
    await node.start(wanted)
    await node.ended(wanted.answer)
    assert engine.prompts[0].messages == path


async def test_slow_watchers_do_not_hold_up_the_run(node: RunningNode, engine: ScriptedEngine) -> None:
    engine.pieces = ["x" * 10_000] * 9
    wanted = node.wanted()
    async with node.http.stream("GET", "/healthz"):
        await node.start(wanted)
        path = f"/v1/answers/{wanted.answer.hex()}/events"
        async with node.http.stream("GET", path, headers=node.bearer()):
            await eventually(lambda: node.node._runs._runs[node.account_id, wanted.answer].state == "done")
