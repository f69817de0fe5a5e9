"""Nodes for tests: the real thing on a free port, with the real engine or with a scripted one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import openai
import pytest

from inference_node.endpoints.api_keys import ApiKeys
from inference_node.server.identity import enrol
from tests.inference_node.asking import Asking, until_served
from tests.inference_node.running_node import WITHIN_S, RunningNode
from tests.inference_node.scripted_engine import Script
from tests.model import default_test_model
from tests.sync_server.conftest import cheap_passwords
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

__all__ = ["cheap_passwords", "default_test_model"]


@pytest.fixture
async def script() -> Script:
    """What the scripted engine of `node` does."""
    return Script()


@pytest.fixture
async def node(tmp_path: Path, script: Script) -> AsyncIterator[RunningNode]:
    """A node with a scripted engine that serves one account; its server is away."""
    running = RunningNode(tmp_path / "data", make_engine=script.make_engine)
    running.add_scripted_model()
    await running.grant(running.account)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def secret(node: RunningNode) -> str:
    """A key for programs, made on the PC."""
    return ApiKeys(node.settings.folder / "api-keys").create("editor")


@pytest.fixture
async def client(node: RunningNode, secret: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, as programs use it."""
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    url = f"{node.url}/v1"
    async with openai.AsyncOpenAI(
        base_url=url, api_key=secret, max_retries=0, timeout=WITHIN_S, http_client=http
    ) as made:
        yield made


@pytest.fixture
def server(tmp_path: Path, cheap_passwords: None) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path / "data")
    yield running
    running.stop()


@pytest.fixture
async def joined_node(server: RunningServer, script: Script) -> AsyncIterator[RunningNode]:
    """A node that shares the server's data folder; nobody has an account yet."""
    node = RunningNode(server.settings.data, make_engine=script.make_engine, server_url=server.url)
    node.add_scripted_model()
    enrol(node.settings.data, node.identity)
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def asking(server: RunningServer, joined_node: RunningNode) -> Asking:
    device = await asyncio.to_thread(server.first_account)
    await until_served(joined_node, device)
    return Asking(device, joined_node.node_id)
