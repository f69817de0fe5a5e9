"""The node as a process, with the real model and the real server: it really dies here."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from shared.change import MessageField
from shared.runs import RunEvent, Text
from shared.values import FINAL_STATES
from tests.inference_node.phone import Phone, until, until_true
from tests.inference_node.running_node import WITHIN_S, new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def real_node(phone: Phone, tmp_path: Path, default_test_model: Path) -> Iterator[NodeProcess]:
    models = tmp_path / "data" / "models"
    models.mkdir()
    (models / default_test_model.name).hardlink_to(default_test_model)
    process = NodeProcess(tmp_path / "data", phone.server.url)
    process.start()
    yield process
    process.kill()


class NodeProcess:
    """A node in a process of its own, which can be killed."""

    def __init__(self, data: Path, server_url: str) -> None:
        self._arguments = [sys.executable, "-m", "tests.inference_node.node_process", str(data), server_url]
        self._process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> None:
        """Start and wait until it listens."""
        self._process = subprocess.Popen(self._arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        watchdog = threading.Timer(WITHIN_S, self._process.kill)
        watchdog.start()
        self.address = self._process.stdout.readline().strip()
        watchdog.cancel()
        assert self.address.startswith("http://"), "the node did not start"

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        code = self._process.wait(WITHIN_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


async def first_words(real_node: NodeProcess, phone: Phone, answer: bytes) -> str:
    """Return the beginning of a running answer, read from the node itself."""
    said = ""
    url = f"{real_node.address}/v1/answers/{answer.hex()}/events"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as http,
        http.stream("GET", url, headers={"authorization": f"Bearer {phone.token()}"}) as response,
    ):
        async for line in response.aiter_lines():
            event = msgspec.json.decode(line[6:], type=RunEvent) if line.startswith("data: ") else None
            said += event.text if isinstance(event, Text) else ""
            if len(said) > 20:
                break
    return said


async def test_the_real_model_answers_a_request_of_the_log(phone: Phone, real_node: NodeProcess) -> None:
    answer = phone.ask("What is the capital of France? Answer in one word.", new_id())
    message = await until(phone, answer, "done", "failed", "interrupted")
    assert message.state is not None
    assert message.state.state == "done"
    assert "Paris" in message.body
    assert (message.state.model, message.state.engine) == ("SmolLM2 135M Instruct", "llama_cpp")


async def test_Q7_a_killed_node_keeps_the_text_and_says_that_it_restarted(
    phone: Phone, real_node: NodeProcess, tmp_path: Path
) -> None:
    answer = phone.ask("Tell me a very long story about the sea, with many chapters.", new_id())
    await until(phone, answer, "running")
    said = await first_words(real_node, phone, answer)
    saved = tmp_path / "data" / "node" / "node.db-wal"
    await until_true(lambda: said.encode() in saved.read_bytes())
    real_node.kill()
    real_node.start()
    message = await until(phone, answer, "interrupted", "done")
    assert message.state is not None
    assert (message.state.state, message.state.code) == ("interrupted", "node_restarted")
    assert message.body.startswith(said)


async def test_an_orderly_stop_leaves_nothing_running(phone: Phone, real_node: NodeProcess) -> None:
    conversation = new_id()
    answer = phone.ask("Tell me a very long story about the sea.", conversation)
    await until(phone, answer, "running")
    started = time.monotonic()
    await asyncio.to_thread(real_node.stop)
    assert time.monotonic() - started < WITHIN_S
    real_node.start()
    message = await until(phone, answer, *FINAL_STATES)
    assert message.state is not None
    assert message.state.code == "node_restarted"


async def test_stop_from_another_device_frees_the_real_engine(phone: Phone, real_node: NodeProcess) -> None:
    conversation = new_id()
    answer = phone.ask("Tell me a very long story about the sea.", conversation)
    await until(phone, answer, "running")
    phone.write(answer, conversation, MessageField.STOP, True)
    await until(phone, answer, "stopped")
    message = await until(phone, phone.ask("Say hello.", new_id()), "done")
    assert message.body
