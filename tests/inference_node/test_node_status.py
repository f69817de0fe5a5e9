"""What a node tells of itself, over HTTP: never that all is well when nothing comes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from inference_node.engines.child_engine import ChildEngine, TimeLimits
from inference_node.engines.engine import EngineOptions
from inference_node.gguf.header import STAND_IN
from inference_node.loading.loader import LoadLimits
from shared.errors import Code, DomovoiError
from shared.runs import Ended, Notice
from tests.inference_node.gguf_file import write_gguf
from tests.inference_node.running_node import RunningNode
from tests.inference_node.talker import MODULE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    import httpx

    from tests.inference_node.scripted_engine import Script

# Of the two, only the first is about health: what is silent for so long is told before it is killed.
SUSPECT_S = 0.3
TIMES = TimeLimits(task_silence=2.0, ping_every=0.05, ping_silence=2.0, stop=0.5, end=0.5, look_every=0.02)


@pytest.fixture
async def talking(tmp_path: Path) -> AsyncIterator[RunningNode]:
    """A node whose engine is a real process that does what prompts say."""
    node = RunningNode(tmp_path / "data", make_engine=lambda name: ChildEngine("talker", TIMES, MODULE))
    node.limits = LoadLimits(
        options=EngineOptions(slots=4),
        first_pause=0.001,
        longest_pause=0.01,
        suspect=SUSPECT_S,
        look_again=0.02,
        look_every=0.02,
    )
    node.add_scripted_model()
    await node.grant(node.account)
    await node.start()
    yield node
    await node.stop()


async def until_unhealthy(node: RunningNode) -> httpx.Response:
    while (response := await node.http.get(f"{node.url}/healthz")).is_success:  # noqa: ASYNC110  # asked over HTTP
        await asyncio.sleep(0.02)
    return response


def end_of(events: Sequence[object]) -> Ended:
    assert isinstance(events[-1], Ended)
    return events[-1]


async def test_an_engine_that_answers_pings_and_generates_nothing_is_unhealthy(talking: RunningNode) -> None:
    answer = await talking.ask("hang")
    response = await until_unhealthy(talking)
    assert response.json()["code"] == Code.ENGINE_FAILED
    status = await talking.status()
    assert (status.engine_state, [model.state for model in status.loaded]) == ("failed", ["stalled"])
    # Killed, tried once more because nobody had seen a word, killed again.
    events = [event.event for event in await talking.whole(answer)]
    assert [event.code for event in events if isinstance(event, Notice)] == [Code.ENGINE_FAILED]
    assert end_of(events).state.state == "interrupted"
    await talking.until(talking.is_healthy)
    assert end_of([event.event for event in await talking.whole(await talking.ask("3"))]).state.state == "done"


async def test_a_suspended_engine_is_unhealthy_and_replaced(talking: RunningNode) -> None:
    (engine,) = [child for child in psutil.Process().children() if MODULE in child.cmdline()]
    engine.suspend()
    await until_unhealthy(talking)
    await talking.until(talking.is_healthy)
    assert not engine.is_running()


async def test_what_is_loaded_can_be_seen_and_chosen(node: RunningNode, script: Script) -> None:
    node.add_scripted_model("Other.gguf")
    first = await node.status()
    assert [(model.name, model.state, model.engine) for model in first.loaded] == [("Test Model", "ready", "scripted")]

    async def post(what: str, model: str) -> httpx.Response:
        return await node.http.post(f"{node.url}/v1/library/{what}", json={"model": model}, headers=node.bearer)

    async def is_loaded(*names: str) -> bool:
        return sorted(model.name for model in (await node.status()).loaded if model.state == "ready") == [*names]

    assert (await post("load", "Other")).is_success
    await node.until(lambda: is_loaded("Other", "Test Model"))
    assert (await post("unload", "Test Model")).is_success
    await node.until(lambda: is_loaded("Other"))
    assert (await post("unload", "Other")).is_success
    await node.until(is_loaded)
    assert (await node.status()).engine_state == "resting"
    assert await node.is_healthy()
    assert (await post("load", "Nothing")).status_code == 404
    assert (await node.http.post(f"{node.url}/v1/library/load", json={"model": "Other"})).status_code == 401


async def test_a_model_on_its_way_is_called_so(node: RunningNode, script: Script) -> None:
    script.may_load.clear()
    script.held = True
    answer = await node.ask()
    script.crash()
    response = await until_unhealthy(node)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (503, Code.ENGINE_LOADING)
    assert problem["title"] == "The model is being loaded."
    script.held = False
    script.may_load.set()
    await node.whole(answer)
    await node.until(node.is_healthy)


async def test_steps_down_are_told(node: RunningNode, script: Script) -> None:
    node.add_scripted_model("Large.gguf")
    script.load_failures = [DomovoiError(Code.OUT_OF_MEMORY), DomovoiError(Code.OUT_OF_MEMORY)]
    await node.whole(await node.ask(model="Large"))
    steps = (await node.status()).steps
    assert [(step.model, step.what, step.to, step.code) for step in steps] == [
        *(("Large", "slots", "2", "out_of_memory"), ("Large", "slots", "1", "out_of_memory")),
    ]


async def test_a_model_without_a_template_says_what_is_put_in_its_place(
    node: RunningNode, caplog: pytest.LogCaptureFixture
) -> None:
    write_gguf(node.settings.models / "Bare.gguf", entries={"tokenizer.chat_template": None})
    await node.whole(await node.ask(model="Bare"))
    details = {model.name: model.detail for model in (await node.status()).loaded}
    assert details.pop("Bare") == STAND_IN
    assert set(details.values()) == {""}
    assert STAND_IN in [getattr(record, "detail", "") for record in caplog.records]


async def test_metrics_name_engine_and_model_and_no_text(node: RunningNode, script: Script) -> None:
    script.answer = "secret " * 20
    await node.whole(await node.ask("A secret question?"))
    text = (await node.http.get(f"{node.url}/metrics")).text
    assert "secret" not in text
    values = {
        (sample.name, sample.labels.get("model")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        # What other tests of this process have counted is of other engines.
        if sample.labels.get("engine") in {None, "scripted"}
    }
    assert values["domovoi_tokens_total", "Test Model"] >= 20
    for name in ("domovoi_tokens_per_second_count", "domovoi_first_token_seconds_count"):
        assert values[name, "Test Model"] >= 1
    assert values["domovoi_queue_seconds_count", None] >= 1
    assert values["domovoi_models_loaded", None] == 1


async def test_generating_and_waiting_are_counted(node: RunningNode, script: Script) -> None:
    script.held = True
    answers = [await node.ask() for _ in range(3)]
    await script.generating.wait()
    status = await node.status()
    assert (status.generating, status.queue) == (1, 2)
    for answer in answers:
        script.finish()
        with contextlib.suppress(TimeoutError):
            await node.whole(answer)
    status = await node.status()
    assert (status.generating, status.queue) == (0, 0)
