"""The engine is kept ready, and the node's health is the engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.inference_node.running_node import add_tiny_model, eventually

if TYPE_CHECKING:
    from tests.inference_node.running_node import RunningNode
    from tests.inference_node.scripted_engine import ScriptedEngine


async def test_health_is_the_engines(node: RunningNode, engine: ScriptedEngine) -> None:
    await node.until_healthy()
    engine.dies = True
    wanted = node.wanted()
    await node.start(wanted)
    assert (await node.ended(wanted.answer)).state.code == "engine_failed"
    add_tiny_model(node.data).write_bytes(b"damaged")
    await eventually(lambda: node.node._keeper.state == "failed")
    sick = await node.http.get("/healthz")
    assert (sick.status_code, sick.json()["code"]) == (503, "engine_unavailable")
    assert "model_damaged" in sick.json()["detail"]


async def test_a_damaged_model_does_not_keep_the_engine_down(node: RunningNode) -> None:
    await node.until_healthy()
    add_tiny_model(node.data, "Broken.gguf").write_bytes(b"damaged")
    wanted = node.wanted(model="Broken")
    await node.start(wanted)
    assert (await node.ended(wanted.answer)).state.code == "model_damaged"
    await node.until_healthy()
