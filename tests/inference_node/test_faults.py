"""A fault in an engine's native code: what was said is kept, the engine is made anew, then another one takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference_node.accelerator import accelerated
from shared.runs import Ended, Text
from shared.values import Sampling
from tests.inference_node.running_node import RunningNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not accelerated, reason="accel is not built here: install Rust, then `make accel`")


@pytest.fixture
async def faulty(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningNode]:
    """A node whose native engine panics at its fifth word; the first is for the probe."""
    monkeypatch.setenv("DOMOVOI_ACCEL_PANIC", "word 5")
    node = RunningNode(tmp_path / "data")
    node.add_model(tiny_model)
    await node.grant(node.account)
    await node.start()
    yield node
    await node.stop()


async def test_a_panic_costs_an_answer_each_and_three_of_them_the_engine(faulty: RunningNode) -> None:
    for _ in range(3):
        events = [event.event for event in await faulty.whole(await faulty.ask("Hi", sampling=Sampling(max_tokens=9)))]
        ended = events[-1]
        assert isinstance(ended, Ended)
        assert (ended.state.state, ended.state.code, ended.state.engine) == ("interrupted", "engine_failed", "native")
        assert [event for event in events if isinstance(event, Text)]
        await faulty.until(faulty.is_healthy)
    *_, last = await faulty.whole(await faulty.ask("Hi", sampling=Sampling(max_tokens=9)))
    assert isinstance(last.event, Ended)
    assert (last.event.state.state, last.event.state.engine) == ("done", "llama_cpp")
    (step,) = (await faulty.status()).steps
    assert (step.engine, step.what, step.to, step.code) == ("native", "engine", "llama_cpp", "engine_failed")
    assert "a panic, as asked: word" in step.detail
