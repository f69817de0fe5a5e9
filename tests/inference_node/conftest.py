from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from inference_node.identity import enrol, ensure_identity
from tests.inference_node.phone import Phone
from tests.inference_node.running_node import RunningNode, add_tiny_model, running_node
from tests.inference_node.scripted_engine import ScriptedEngine
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class Kept(NamedTuple):
    """A node that the tests of one module share, because starting one takes longer than most of them."""

    node: RunningNode
    engine: ScriptedEngine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kept]:
    data = tmp_path_factory.mktemp("data")
    add_tiny_model(data)
    engine = ScriptedEngine()
    async with running_node(data, engine) as started:
        await started.until_healthy()
        yield Kept(started, engine)


@pytest.fixture
async def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def node(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[RunningNode]:
    """A node with a scripted engine and no server."""
    add_tiny_model(tmp_path)
    async with running_node(tmp_path, engine) as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    data = tmp_path / "data"
    enrol(data, ensure_identity(data, "Study"))
    started = RunningServer(data)
    yield started
    started.stop()


@pytest.fixture
def phone(server: RunningServer, tmp_path: Path) -> Phone:
    return Phone(server, server.first_account(), ensure_identity(tmp_path / "data", "Study").node_id)
