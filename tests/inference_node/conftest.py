from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.inference_node.running_node import RunningNode, add_tiny_model, running_node
from tests.inference_node.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def node(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[RunningNode]:
    """A node with a scripted engine and no server."""
    add_tiny_model(tmp_path)
    async with running_node(tmp_path, engine) as started:
        yield started
