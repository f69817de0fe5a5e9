"""Embeddings from each real engine: the same vectors, whatever the way of pooling."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from inference_node.accelerator import accelerated
from inference_node.engines import probe
from inference_node.engines.child_engine import ChildEngine
from inference_node.engines.engine import ChatMessage, EngineOptions, LoadedModel, Prompt, PromptTooLong
from shared.errors import Code, DomovoiError
from tests.accel import tiny_models
from tests.accel.tiny_models import Shape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ENGINES = ["native", "llama_cpp"] if accelerated else ["llama_cpp"]
MODELS = {
    "mean": Shape("llama", gguf.GGMLQuantizationType.F16, pooling=gguf.PoolingType.MEAN),
    "first": Shape("llama", gguf.GGMLQuantizationType.F16, pooling=gguf.PoolingType.CLS),
    "last": Shape("qwen3", gguf.GGMLQuantizationType.F16, has_head_norms=True, pooling=gguf.PoolingType.LAST),
}
# One letter, a sentence, more than one step of an engine; and more texts than are embedded at once.
TEXTS = ["A", "ThehouseattheendofthelanehaselevenroomsHowmanyroomshasit", "KLMNOPQRST" * 30, *map(str, range(100, 112))]


@pytest.fixture(params=MODELS, scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write(tmp_path_factory.mktemp("model") / "embed.gguf", MODELS[request.param])


async def loaded(name: str, model: Path) -> tuple[ChildEngine, LoadedModel]:
    engine = ChildEngine(name)
    try:
        *_, last = [event async for event in engine.load(model, EngineOptions(context=512, slots=2))]
    except DomovoiError:
        await engine.unload()
        raise
    assert isinstance(last, LoadedModel)
    return engine, last


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, model: Path) -> AsyncIterator[ChildEngine]:
    engine, said = await loaded(request.param, model)
    assert said.can_embed
    await probe.probe(engine, said)
    yield engine
    await engine.unload()


async def test_texts_have_vectors_of_length_one_and_the_engine_answers_nothing(engine: ChildEngine) -> None:
    made = await engine.embed(TEXTS)
    assert len(made.vectors) == len(TEXTS)
    assert np.linalg.norm(made.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert made.tokens == sum(map(len, TEXTS))
    alone = await engine.embed(TEXTS[1:2])
    # llama.cpp's sums depend on what was computed before.
    assert np.dot(alone.vectors[0], made.vectors[1]) > 0.999
    with pytest.raises(PromptTooLong) as refused:
        await engine.embed(["B" * 600])
    assert refused.value.tokens == 600
    with pytest.raises(DomovoiError) as unsupported:
        _ = [event async for event in engine.generate(Prompt([ChatMessage("user", "Hi")]))]
    assert unsupported.value.code == Code.UNSUPPORTED
    again = await engine.embed(["A"])
    assert again.tokens == 1
    assert np.dot(again.vectors[0], made.vectors[0]) > 0.999


@pytest.mark.skipif(not accelerated, reason="accel is not built here")
async def test_engines_agree(model: Path) -> None:
    vectors = []
    for name in ENGINES:
        engine, _ = await loaded(name, model)
        vectors.append(np.array((await engine.embed(TEXTS)).vectors))
        await engine.unload()
    for ours, theirs in itertools.combinations(vectors, 2):
        # Cosines; measured: 0.9998 and more. A wrong norm, place or order gives less than 0.5.
        assert (ours * theirs).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("name", ENGINES)
async def test_a_model_that_ranks_texts_is_refused_by_every_engine(name: str, tmp_path: Path) -> None:
    shape = MODELS["last"]._replace(pooling=gguf.PoolingType.RANK)
    path = tiny_models.write(tmp_path / "rank.gguf", shape)
    with pytest.raises(DomovoiError) as refused:
        await loaded(name, path)
    assert refused.value.code == Code.UNSUPPORTED
