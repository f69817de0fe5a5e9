"""JSON Schemas that no person would write, given to the engines themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from inference_node.accelerator import accelerated
from inference_node.engines.child_engine import ChildEngine
from inference_node.engines.engine import ChatMessage, EngineOptions, Finished, Prompt
from shared.errors import DomovoiError
from shared.values import Sampling
from tests.security.vectors import Vector, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from inference_node.engines.engine import Engine

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["llama_cpp", *(["native"] if accelerated else [])])
async def engine(request: pytest.FixtureRequest, tiny_model: Path) -> AsyncIterator[Engine]:
    """One engine for all the schemas: what one of them does to it, the next would see."""
    made = ChildEngine(request.param)
    async for _ in made.load(tiny_model, EngineOptions(context=2048, slots=1)):
        pass
    yield made
    await made.unload()


@pytest.mark.parametrize("vector", table("schemas"), ids=lambda vector: vector.id)
async def test_every_schema_of_the_table(engine: Engine, vector: Vector) -> None:
    verdict = await verdict_of_schema(engine, vector)
    assert verdict in ({vector.verdict} if vector.verdict else {"answered", "400 bad_request", "422 unsupported"})


async def verdict_of_schema(engine: Engine, vector: Vector) -> str:
    """Have a few tokens made under a schema, and return what came of it."""
    schema = vector.input
    if "many" in schema:
        schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(schema["many"])}}
    prompt = Prompt([ChatMessage("user", "Hello")], Sampling(max_tokens=3), schema=json.dumps(schema))
    try:
        events = [event async for event in engine.generate(prompt)]
    except DomovoiError as error:
        return f"{error.status} {error.code}"
    return "answered" if isinstance(events[-1], Finished) else "nothing"
