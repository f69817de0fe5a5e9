"""Nodes for tests: the real thing on a free port, with the real engine or with a scripted one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.inference_node.running_node import RunningNode
from tests.inference_node.scripted_engine import Script
from tests.model import default_test_model
from tests.sync_server.conftest import cheap_passwords

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
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
