"""The whole node with the real engine and model: answers, stops and kills."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from inference_node.accelerator import accelerated
from inference_node.endpoints.api_keys import ApiKeys
from shared.runs import Ended, Started, Text
from shared.values import Sampling, decode
from tests.inference_node.node_process import CHECKPOINT_S
from tests.inference_node.running_node import RunningNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

STORY = "Tell me a very long story about a house with a stove."
WITHIN_S = 60.0


@pytest.fixture
async def real(tmp_path: Path, default_test_model: Path) -> AsyncIterator[RunningNode]:
    node = RunningNode(tmp_path / "data")
    node.add_model(default_test_model)
    await node.grant(node.account)
    yield node
    await node.stop()


def engine_of(process: psutil.Process) -> psutil.Process:
    """Return the engine's process: there is never more than one for a model, and none outlives its node."""
    (engine,) = (child for child in process.children() if "inference_node.engines.process" in child.cmdline())
    return engine


@contextmanager
def started_node(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a node as a process of its own, which does not outlive this."""
    command = [sys.executable, "-m", "tests.inference_node.node_process", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_an_answer_a_stop_a_kill_and_programs(real: RunningNode) -> None:
    """One node for all of it: loading the model is what takes time."""
    await real.start()
    # An answer, word by word.
    events = await real.whole(await real.ask("Say hello.", sampling=Sampling(max_tokens=24, seed=1)))
    started, ended = events[0].event, events[-1].event
    assert isinstance(started, Started)
    assert isinstance(ended, Ended)
    assert (started.model, started.engine) == ("SmolLM2 135M Instruct", "native" if accelerated else "llama_cpp")
    texts = [event.text for _, event, _ in events if isinstance(event, Text)]
    assert decode(ended.changes[0].value, str) == "".join(texts) != ""
    assert ended.state.state == "done"
    assert ended.state.completion_tokens is not None
    assert ended.state.prompt_tokens is not None

    # A stop in mid-answer frees the engine.
    answer = await real.ask(STORY)
    async for event in real.watch(answer):
        if isinstance(event.event, Text):
            await real.stop_answer(answer)
        if isinstance(event.event, Ended):
            assert event.event.state.state == "stopped"

    # The same for a prompt that is still being read.
    answer = await real.ask("word " * 6000)
    async for event in real.watch(answer):
        if isinstance(event.event, Started):
            before = time.monotonic()
            await real.stop_answer(answer)
        if isinstance(event.event, Ended):
            assert event.event.state.state == "stopped"
            assert time.monotonic() - before < 10

    # The engine is killed in mid-answer: what came is kept, and the next answer has a new engine.
    answer = await real.ask(STORY)
    async for event in real.watch(answer):
        if isinstance(event.event, Text):
            engine_of(psutil.Process()).kill()
            break
    last = (await real.whole(answer))[-1].event
    assert isinstance(last, Ended)
    assert (last.state.state, last.state.code) == ("interrupted", "engine_failed")
    assert decode(last.changes[0].value, str)

    # A program, with stop strings and a seed.
    key = {"Authorization": f"Bearer {ApiKeys(real.settings.folder / 'api-keys').create('test')}"}
    body = {"messages": [{"role": "user", "content": "Count: one, two, three"}], "max_tokens": 32, "seed": 5}
    url = f"{real.url}/v1/chat/completions"
    first = (await real.http.post(url, json=body, headers=key, timeout=WITHIN_S)).json()
    text = first["choices"][0]["message"]["content"]
    word = text.split()[1]
    cut = (await real.http.post(url, json={**body, "stop": [word]}, headers=key, timeout=WITHIN_S)).json()
    assert cut["choices"][0]["message"]["content"] == text[: text.index(word)]
    assert cut["choices"][0]["finish_reason"] == "stop"


async def test_Q7_a_node_killed_in_mid_answer_keeps_the_text(real: RunningNode) -> None:
    with started_node(real.settings.data) as process:
        assert process.stdout is not None
        real.url = (await asyncio.to_thread(process.stdout.readline)).decode().strip()
        await real.until(real.is_healthy)
        # Greedily, because then this model tells one story for thousands of tokens.
        answer = await real.ask(STORY, sampling=Sampling(temperature=0.0))
        engine = engine_of(psutil.Process(process.pid))
        seen = ""
        begun = time.monotonic()
        async for event in real.watch(answer):
            if isinstance(event.event, Text):
                # What is written every so often must survive once it was time for it.
                if seen and time.monotonic() - begun > 2 * CHECKPOINT_S:
                    break
                if not seen:
                    begun = time.monotonic()
                seen = seen or event.event.text
    assert engine.wait(WITHIN_S) is not None or not engine.is_running()
    await real.start()
    async with real.database() as database, database.transaction() as connection:
        query = "SELECT field, value FROM cell WHERE eid = ? ORDER BY field"
        found = {row["field"]: row["value"] for row in await connection.execute_fetchall(query, (answer,))}
    body = decode(found[2], str)
    assert body is not None
    assert body.startswith(seen)
    assert b"node_restarted" in found[4]
