"""The app's models page, over HTTP, against a node with a scripted engine and an index on loopback."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from inference_node.models import catalogue, download, pulls
from inference_node.models.catalogue import Licence
from shared.library_wire import Library, PullState
from tests.inference_node.file_server import FileServer, bundle
from tests.inference_node.gguf_file import F32, Tensor, gguf, write_gguf

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.inference_node.running_node import RunningNode
    from tests.inference_node.scripted_engine import Script

BYTES = 1_000_000
CONTENT = gguf(tensors=[Tensor("w", (BYTES // 4,), F32, 0, BYTES)], data=False) + hashlib.shake_128(b"1").digest(BYTES)
FILE = "Small-Model.Q4_1.gguf"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """An index that has one free model, and the same under a licence; laid before `node` starts."""
    wheels, model = bundle(CONTENT, 2)
    licensed = msgspec.structs.replace(
        model, id="licensed", name="Licensed", licence=Licence("Terms", "https://example.org/terms", must_accept=True)
    )
    for server in FileServer(wheels).running():
        monkeypatch.setattr(catalogue, "CATALOGUE", (model, licensed))
        monkeypatch.setattr("inference_node.models.library.CATALOGUE", (model, licensed))
        monkeypatch.setattr(pulls.Pulls.__init__, "__defaults__", (server.url,))
        monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.001)
        monkeypatch.setattr(download, "BLOCK_BYTES", 64 * 1024)
        monkeypatch.setattr(pulls, "TELL_EVERY_S", 0.001)
        yield server


@pytest.fixture
async def node(index: FileServer, node: RunningNode) -> RunningNode:
    return node


async def post(node: RunningNode, path: str, **body: Any) -> httpx.Response:
    return await node.http.post(f"{node.url}/v1/library/{path}", json=body, headers=node.bearer)


async def library(node: RunningNode) -> Library:
    response = await node.http.get(f"{node.url}/v1/library", headers=node.bearer)
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=Library)


async def watch(node: RunningNode, file: str = FILE) -> list[PullState]:
    """Return the pull's states, as they are told, to its end."""
    url = f"{node.url}/v1/library/pulls/{file}/events"
    async with node.http.stream("GET", url, headers=node.bearer) as stream:
        assert stream.status_code == 200
        lines = [line async for line in stream.aiter_lines()]
    told = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [msgspec.json.decode(state, type=PullState) for state in told]


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_the_library_shows_what_is_here_and_what_can_come(node: RunningNode) -> None:
    shown = await library(node)
    [model] = shown.models
    assert (model.name, model.state, model.is_default, model.context) == ("Test Model", "ready", True, 2048)
    assert [(offer.id, offer.must_accept) for offer in shown.catalogue] == [("small", False), ("licensed", True)]
    assert shown.disk_free > 0
    assert shown.proposal


async def test_a_model_is_fetched_while_somebody_watches(node: RunningNode) -> None:
    started = await post(node, "pull", id="small")
    assert started.status_code == 200
    states = await watch(node)
    assert states[-1].state == "done"
    assert states[-1].done == states[-1].total > 0
    assert [state.done for state in states] == sorted(state.done for state in states)
    assert (node.settings.models / FILE).read_bytes() == CONTENT
    shown = await library(node)
    assert [model.name for model in shown.models] == ["Small Model", "Test Model"]
    assert [pull.state for pull in shown.pulls] == ["done"]
    assert shown.catalogue == []
    status = await node.http.get(f"{node.url}/v1/status", headers=node.bearer)
    assert "Small Model" in status.json()["models"]


async def test_it_is_fetched_whether_somebody_watches_or_not(node: RunningNode) -> None:
    await post(node, "pull", id="small")

    async def is_here() -> bool:
        return [pull.state for pull in (await library(node)).pulls] == ["done"]

    await node.until(is_here)
    assert (await watch(node))[-1].state == "done"


async def test_asking_again_attaches_to_the_same_pull(node: RunningNode, index: FileServer) -> None:
    await post(node, "pull", id="small")
    await post(node, "pull", id="small")
    await watch(node)
    assert len(index.ranges) == 2


async def test_a_failed_pull_says_why_and_goes_on_when_asked_again(node: RunningNode, index: FileServer) -> None:
    index.cuts = [196_608, *[0] * 10]
    await post(node, "pull", id="small")
    last = (await watch(node))[-1]
    assert (last.state, last.code) == ("failed", "download_failed")
    assert last.detail
    [partial] = [model for model in (await library(node)).models if model.state == "partial"]
    assert partial.done_bytes == 196_608
    index.cuts = []
    await post(node, "pull", id="small")
    assert (await watch(node))[-1].state == "done"
    assert index.ranges[-2] == "bytes=196608-"


async def test_a_stopped_pull_keeps_what_came(
    node: RunningNode, index: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.cuts = [196_608] + [0] * 4
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 60)
    await post(node, "pull", id="small")

    async def has_begun() -> bool:
        return any(pull.done >= 196_608 for pull in (await library(node)).pulls)

    await node.until(has_begun)
    assert (await post(node, f"pulls/{FILE}/stop")).status_code == 204
    assert (await watch(node))[-1].state == "stopped"
    [partial] = [model for model in (await library(node)).models if model.state == "partial"]
    assert partial.done_bytes >= 196_608


async def test_a_licence_has_to_be_accepted(node: RunningNode, index: FileServer) -> None:
    refused = await post(node, "pull", id="licensed")
    assert code_of(refused) == (409, "licence_required")
    assert "https://example.org/terms" in refused.json()["detail"]
    assert index.ranges == []
    assert (await post(node, "pull", id="licensed", accept_licence=True)).status_code == 200
    assert (await watch(node))[-1].state == "done"


@pytest.mark.parametrize("name", ["gpt-5", "https://example.org/model.gguf", "../secret", ""])
async def test_nothing_outside_the_catalogue_is_fetched(node: RunningNode, name: str) -> None:
    assert code_of(await post(node, "pull", id=name)) == (404, "model_unknown")


async def test_another_model_is_made_the_default_and_loaded(node: RunningNode, script: Script) -> None:
    other = write_gguf(node.settings.models / "Other-Model.gguf")
    assert (await post(node, "use", model="Other Model")).status_code == 204

    async def is_loaded() -> bool:
        status = await node.http.get(f"{node.url}/v1/status", headers=node.bearer)
        return (status.json()["model"], status.json()["engine_state"]) == ("Other Model", "ready")

    await node.until(is_loaded)
    assert script.loads[-1] == other
    assert [model.is_default for model in (await library(node)).models] == [True, False]
    await node.restart()
    assert [model.is_default for model in (await library(node)).models] == [True, False]


async def test_a_model_is_removed_but_not_the_loaded_one(node: RunningNode) -> None:
    other = write_gguf(node.settings.models / "Other-Model.gguf")
    assert (await post(node, "remove", model="Other Model")).status_code == 204
    assert not other.exists()
    assert code_of(await post(node, "remove", model="Test Model")) == (409, "model_busy")
    assert code_of(await post(node, "remove", model="../identity")) == (404, "model_missing")


async def test_without_a_token_nothing_is_shown_or_done(node: RunningNode) -> None:
    for method, path in [
        ("GET", ""),
        ("POST", "/pull"),
        ("GET", f"/pulls/{FILE}/events"),
        ("POST", f"/pulls/{FILE}/stop"),
        ("POST", "/use"),
        ("POST", "/remove"),
    ]:
        response = await node.http.request(method, f"{node.url}/v1/library{path}", json={})
        assert code_of(response) == (401, "token_missing")


async def test_who_does_not_manage_the_node_looks_and_asks_only(node: RunningNode) -> None:
    guest = os.urandom(16)
    await node.stop()
    await node.grant(guest, level="use")
    await node.restart()
    headers = {"Authorization": f"Bearer {node.authority.token(guest)}"}
    assert (await node.http.get(f"{node.url}/v1/library", headers=headers)).is_success
    for path in ("pull", "use", "remove", "load", "unload", f"pulls/{FILE}/stop"):
        body = {"id": "small", "model": "Test-Model.gguf"}
        refused = await node.http.post(f"{node.url}/v1/library/{path}", json=body, headers=headers)
        assert code_of(refused) == (403, "manager_only"), path
    assert [model.file for model in (await library(node)).models] == ["Test-Model.gguf"]
    assert (await node.http.get(f"{node.url}/v1/status", headers=headers)).is_success


async def test_a_pull_that_there_is_not_is_said(node: RunningNode) -> None:
    assert code_of(await post(node, "pulls/nothing.gguf/stop")) == (404, "model_missing")
    url = f"{node.url}/v1/library/pulls/nothing.gguf/events"
    assert code_of(await node.http.get(url, headers=node.bearer)) == (404, "model_missing")


async def test_a_setting_wins_over_the_app(node: RunningNode) -> None:
    await node.stop()
    object.__setattr__(node.settings, "model", "Test-Model.gguf")
    await node.restart()
    write_gguf(node.settings.models / "Other-Model.gguf")
    assert code_of(await post(node, "use", model="Other Model")) == (409, "model_fixed")
