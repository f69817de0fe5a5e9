"""/v1/models, as OpenAI's own client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from tests.inference_node.running_node import RunningNode


async def test_the_models_can_be_asked_for(client: AsyncOpenAI, node: RunningNode) -> None:
    path = node.add_scripted_model("Other-1B.Q4_1.gguf")
    models = [model async for model in client.models.list()]
    assert [model.id for model in models] == ["Other-1B.Q4_1", "Test-Model"]
    assert models[0].created == int(path.stat().st_mtime)
    for model in models:
        assert await client.models.retrieve(model.id) == model
        answer = await client.completions.create(model=model.id, prompt="Once")
        assert answer.model == model.id


@pytest.mark.parametrize("name", ["default", ""])
async def test_a_name_that_says_nothing_means_the_default(client: AsyncOpenAI, name: str) -> None:
    assert (await client.completions.create(model=name, prompt="Once")).model == "Test-Model"


async def test_an_unknown_model_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.models.retrieve("gpt-4")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
