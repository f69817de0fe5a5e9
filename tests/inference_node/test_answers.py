"""/v1/answers through real HTTP: start, watch, stop, resume."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from shared.runs import Ended, Started, Text
from shared.values import Sampling, decode
from shared.wire import PathMessage
from tests.inference_node.running_node import ORIGIN, RunningNode, new_id

if TYPE_CHECKING:
    from tests.inference_node.running_node import Event
    from tests.inference_node.scripted_engine import Script


def text_of(events: list[Event]) -> str:
    return "".join(event.text for _, event, _ in events if isinstance(event, Text))


def code_of(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


async def test_S2_events_are_started_then_text_then_ended(node: RunningNode) -> None:
    events = await node.whole(await node.ask())
    kinds = [type(event) for _, event, _ in events]
    assert kinds[0] is Started
    assert kinds[-1] is Ended
    assert set(kinds[1:-1]) == {Text}
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))


async def test_S2_S5_texts_joined_are_the_body(node: RunningNode, script: Script) -> None:
    script.answer = "Да, 日本語 🔥 e\u0301 \u202eflip\r\n\tline \x00 end."
    events = await node.whole(await node.ask())
    ended = events[-1].event
    assert isinstance(ended, Ended)
    body, state = ended.changes
    assert decode(body.value, str) == text_of(events) == script.answer
    assert ended.state.state == "done"
    assert state.clk > body.clk


async def test_Q2_a_repeated_start_attaches_to_the_run(node: RunningNode, script: Script) -> None:
    script.held = True
    body = node.request()
    first = await node.post(body)
    again = await asyncio.gather(*(node.post(body) for _ in range(5)))
    assert {response.status_code for response in (first, *again)} == {200}
    script.say("Once")
    script.finish()
    events = await node.whole(body.answer)
    assert text_of(events) == "Once"
    assert msgspec.msgpack.decode((await node.post(body)).content)["state"] == "done"
    assert len(script.prompts) == 1


@pytest.mark.parametrize("after", range(5))
async def test_S3_a_watcher_continues_after_the_last_event_it_saw(node: RunningNode, after: int) -> None:
    answer = await node.ask()
    everything = await node.whole(answer)
    assert await node.whole(answer, after) == everything[after:]


async def test_S1_a_run_goes_on_without_watchers(node: RunningNode, script: Script) -> None:
    script.held = True
    answer = await node.ask()
    async for event in node.watch(answer):
        assert isinstance(event.event, Started)
        break
    script.say("still ", "here")
    script.finish()
    assert text_of(await node.whole(answer)) == "still here"


async def test_many_watchers_see_the_same(node: RunningNode, script: Script) -> None:
    script.held = True
    answer = await node.ask()
    watchers = [asyncio.create_task(node.whole(answer)) for _ in range(8)]
    for n in range(50):
        script.say(f"{n} ")
    script.finish()
    everything = await asyncio.gather(*watchers)
    assert all(events == everything[0] for events in everything)


async def test_stop_ends_the_run_and_keeps_its_text(node: RunningNode, script: Script) -> None:
    script.held = True
    answer = await node.ask()
    script.say("Half a sen")
    async for event in node.watch(answer):
        if isinstance(event.event, Text):
            assert (await node.stop_answer(answer)).status_code == 204
    ended = (await node.whole(answer))[-1].event
    assert isinstance(ended, Ended)
    assert ended.state.state == "stopped"
    assert decode(ended.changes[0].value, str) == "Half a sen"
    assert (await node.stop_answer(answer)).status_code == 204
    script.held = False
    assert text_of(await node.whole(await node.ask())) == script.answer


async def test_a_queued_answer_can_be_stopped(node: RunningNode, script: Script) -> None:
    script.held = True
    running = await node.ask()
    queued = await node.ask("Later?")
    assert (await node.stop_answer(queued)).status_code == 204
    (only,) = await node.whole(queued)
    assert isinstance(only.event, Ended)
    assert only.event.state.state == "stopped"
    script.finish()
    await node.whole(running)
    assert len(script.prompts) == 1


async def test_answers_are_made_one_at_a_time(node: RunningNode, script: Script) -> None:
    answers = [await node.ask(f"Question {n}") for n in range(6)]
    for answer in answers:
        assert text_of(await node.whole(answer)) == script.answer
    assert script.most_busy == 1


async def test_a_full_queue_is_busy(node: RunningNode, script: Script) -> None:
    script.held = True
    responses = [await node.post(node.request()) for _ in range(40)]
    assert code_of(responses[-1]) == (503, "engine_busy")
    refused = responses[-1]
    assert sum(response.status_code == 200 for response in responses) == 33
    assert refused.json()["detail"]


async def test_sampling_and_path_reach_the_engine(node: RunningNode, script: Script) -> None:
    path = [PathMessage("system", "Be kind."), PathMessage("user", "Why?")]
    await node.whole(await node.ask(path=path, sampling=Sampling(temperature=0.5, seed=7, max_tokens=3)))
    (prompt,) = script.prompts
    assert [(message.role, message.content) for message in prompt.messages] == [
        ("system", "Be kind."),
        ("user", "Why?"),
    ]
    assert prompt.sampling == Sampling(temperature=0.5, seed=7, max_tokens=3)


async def test_the_oldest_messages_are_left_out(node: RunningNode, script: Script) -> None:
    turns = [PathMessage("user" if n % 2 == 0 else "assistant", "word " * 9) for n in range(20)]
    path = [PathMessage("system", "Be kind."), *turns, PathMessage("user", "The last.")]
    events = await node.whole(await node.ask(path=path))
    started, ended = events[0].event, events[-1].event
    assert isinstance(started, Started)
    assert isinstance(ended, Ended)
    (prompt,) = script.prompts
    assert prompt.messages[0].content == "Be kind."
    assert prompt.messages[1].role == "user"
    assert prompt.messages[-1].content == "The last."
    assert started.dropped_messages == ended.state.dropped_messages == len(path) - len(prompt.messages) > 0


async def test_a_last_message_too_long_alone_fails(node: RunningNode) -> None:
    (only,) = await node.whole(await node.ask("word " * 200))
    assert isinstance(only.event, Ended)
    assert (only.event.state.state, only.event.state.code) == ("failed", "context_too_long")


async def test_a_model_that_is_not_there_fails_by_name(node: RunningNode) -> None:
    (only,) = await node.whole(await node.ask(model="../../secrets"))
    assert isinstance(only.event, Ended)
    assert (only.event.state.state, only.event.state.code) == ("failed", "model_missing")


async def test_Q1_a_request_for_another_node_is_refused(node: RunningNode) -> None:
    assert code_of(await node.post(node.request(node=bytes(16)))) == (400, "bad_request")
    assert code_of(await node.post(node.request(node=None))) == (400, "bad_request")


async def test_what_this_node_has_not_run_is_unknown(node: RunningNode) -> None:
    for path in (new_id().hex(), "nonsense", "..%2f"):
        response = await node.http.get(f"{node.url}/v1/answers/{path}/events", headers=node.bearer)
        assert response.status_code == 404
    assert code_of(await node.stop_answer(new_id())) == (404, "answer_unknown")


@pytest.mark.parametrize("last", ["x", "1", "1:1", f"{'00' * 16}:1", "²"])
async def test_a_last_event_of_something_else_is_refused(node: RunningNode, last: str) -> None:
    answer = await node.ask()
    await node.whole(answer)
    headers = httpx.Headers({**node.bearer, "Last-Event-ID": last}, encoding="utf-8")
    response = await node.http.get(f"{node.url}/v1/answers/{answer.hex()}/events", headers=headers)
    assert code_of(response) == (400, "bad_request")


async def test_S4_events_that_never_were_are_gone(node: RunningNode) -> None:
    answer = await node.ask()
    await node.whole(answer)
    response = await node.http.get(f"{node.url}/v1/answers/{answer.hex()}/events?after=99", headers=node.bearer)
    assert code_of(response) == (410, "events_gone")


async def test_S4_events_are_gone_after_a_restart(node: RunningNode) -> None:
    answer = await node.ask()
    await node.whole(answer)
    await node.restart()
    response = await node.http.get(f"{node.url}/v1/answers/{answer.hex()}/events", headers=node.bearer)
    assert code_of(response) == (410, "events_gone")


async def test_json_is_spoken_too(node: RunningNode) -> None:
    body = node.request()
    headers = {**node.bearer, "Content-Type": "application/json", "Origin": ORIGIN}
    response = await node.http.post(f"{node.url}/v1/answers", content=msgspec.json.encode(body), headers=headers)
    assert response.status_code == 200
    assert response.json()["state"] == "queued"
    assert response.headers["access-control-allow-origin"] == ORIGIN


async def test_bad_bodies_are_refused_by_name(node: RunningNode) -> None:
    good = msgspec.msgpack.encode(node.request())
    cases = {
        ("application/msgpack", good[:-3]): "bad_request",
        ("application/msgpack", b"\xc1"): "bad_request",
        ("application/json", b"{"): "bad_request",
        ("application/json", b"[" * 100_000): "bad_request",
        ("application/json", b'{"answer": 7}'): "bad_request",
        ("text/plain", good): "unsupported_media_type",
        ("application/msgpack", bytes(5 * 1024 * 1024)): "body_too_large",
    }
    for (content_type, body), code in cases.items():
        headers = {**node.bearer, "Content-Type": content_type}
        response = await node.http.post(f"{node.url}/v1/answers", content=body, headers=headers)
        assert code_of(response)[1] == code
