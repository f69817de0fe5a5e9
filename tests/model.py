"""The real default model, downloaded once and kept in the checkout's cache."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from inference_node.models import ModelStore

CACHE = Path(__file__).parents[1] / ".cache" / "models"


@pytest.fixture(scope="session")
def default_test_model() -> Path:
    """Return the GGUF file of the default model."""
    return asyncio.run(ModelStore(CACHE).ensure_default())
