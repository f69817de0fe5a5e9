"""Starting and stopping: what is wrong is said in words that help."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.errors import StartupError
from tests.inference_node.running_node import RunningNode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.inference_node.scripted_engine import Script


async def test_a_busy_port_is_named(tmp_path: Path, script: Script) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        node = RunningNode(tmp_path, make_engine=script.make_engine, port=port)
        with pytest.raises(StartupError, match=rf"Port {port} is taken.*--node-port"):
            await node.start()
        await node.stop()


async def test_an_unknown_engine_is_named(tmp_path: Path, script: Script) -> None:
    node = RunningNode(tmp_path, make_engine=script.make_engine, engine="steam")
    with pytest.raises(StartupError, match="steam"):
        await node.start()
    await node.stop()


async def test_a_damaged_database_is_named(tmp_path: Path, script: Script) -> None:
    node = RunningNode(tmp_path, make_engine=script.make_engine)
    (node.settings.folder / "node.db").write_bytes(b"This is no database. " * 100)
    with pytest.raises(StartupError, match="move it away"):
        await node.start()
    await node.stop()


async def test_the_port_is_free_after_a_stop(node: RunningNode) -> None:
    port = int(node.url.rpartition(":")[2])
    await node.stop()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


async def test_the_document_describes_what_is_served(node: RunningNode) -> None:
    document = (await node.http.get(f"{node.url}/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method in operations:
            url = node.url + path.replace("{answer}", "00" * 16).replace("{file}", "x.gguf")
            response = await node.http.request(method.upper(), url, headers=node.bearer)
            is_problem = response.headers.get("content-type") == "application/problem+json"
            assert not is_problem or response.json()["code"] not in {"not_found", "method_not_allowed"}
    references = {line.rpartition("/")[2] for line in json.dumps(document).split('"') if line.startswith("#/")}
    assert references <= document["components"]["schemas"].keys()


async def test_metrics_can_be_read(node: RunningNode) -> None:
    response = await node.http.get(f"{node.url}/metrics")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert families["domovoi_engine_ready"].samples[0].value == 1
    assert "domovoi_runs_started" in families


async def test_a_keyset_that_is_damaged_is_asked_for_again(node: RunningNode) -> None:
    await node.stop()
    (node.settings.folder / "keyset.json").write_text("nonsense")
    await node.restart()
    response = await node.http.get(f"{node.url}/v1/status", headers=node.bearer)
    assert (response.status_code, response.json()["code"]) == (401, "token_invalid")
