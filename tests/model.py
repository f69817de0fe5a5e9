"""Models for tests: the real default one, kept in the checkout's cache, and one that costs nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from inference_node.models.models import ModelStore
from tests.inference_node.gguf_file import settle

CACHE = Path(__file__).parents[1] / ".cache" / "models"


@pytest.fixture(scope="session")
def default_test_model() -> Path:
    """Return the GGUF file of the default model."""
    return asyncio.run(ModelStore(CACHE).ensure_default())


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that chats without sense: for what is around the words, at a hundredth of the real one's cost."""
    # numpy and gguf take a while, and most tests want neither.
    from tests.accel import tiny_models  # noqa: PLC0415

    path = tiny_models.write(tmp_path_factory.mktemp("model") / "Tiny-Llama.Q8_0.gguf", tiny_models.CHAT)
    settle(path)
    return path
