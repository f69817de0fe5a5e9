"""Starting a node: every reason why it can't is said with what to do."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from inference_node.main import serve
from inference_node.settings import NodeSettings
from shared.errors import StartupError
from tests.inference_node.running_node import add_tiny_model, running_node
from tests.inference_node.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_busy_port_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"Port {port} is busy"):
            await serve(NodeSettings(tmp_path, port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.com"])
async def test_no_address_but_this_machines_is_taken(tmp_path: Path, host: str) -> None:
    with pytest.raises(StartupError, match="this machine alone"):
        await serve(NodeSettings(tmp_path, host=host, port=0))


async def test_an_unknown_engine_is_said(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="llama_cpp"):
        await serve(NodeSettings(tmp_path, port=0, engine="abacus"))


async def test_a_data_folder_that_can_not_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in its place")
    with pytest.raises(StartupError, match="--data"):
        await serve(NodeSettings(tmp_path / "data", port=0))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root and Windows write everywhere")
async def test_a_folder_without_permission_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)  # noqa: ASYNC240
    with pytest.raises(StartupError, match="permission"):
        await serve(NodeSettings(tmp_path / "data", port=0))


async def test_a_damaged_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "node.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StartupError, match=r"node\.db"):
        await serve(NodeSettings(tmp_path, port=0))


async def test_a_second_node_in_the_same_folder_is_said(tmp_path: Path) -> None:
    add_tiny_model(tmp_path)
    async with running_node(tmp_path, ScriptedEngine()):
        with pytest.raises(StartupError, match=r"node\.db"):
            await serve(NodeSettings(tmp_path, port=0))
