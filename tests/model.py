"""The real model for tests, fetched once as the product fetches it, and shared by every suite."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inference_node.models import ModelStore

if TYPE_CHECKING:
    from collections.abc import Iterator

# Ignored by git.
FOLDER = Path(__file__).parents[1] / ".cache" / "models"
FETCH_WITHIN_S = 600.0


@pytest.fixture(scope="session")
def default_test_model() -> Path:
    """The default model's file, named as in a data folder. Do not change it; copy or link it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _only_one():
        return asyncio.run(ModelStore(FOLDER).ensure_default(lambda _done, _total: None)).path


@contextmanager
def _only_one() -> Iterator[None]:
    """Keep suites that start together from writing the same file."""
    lock = FOLDER / ".lock"
    deadline = time.monotonic() + FETCH_WITHIN_S
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            # A killed suite leaves its lock behind; nobody downloads for longer than this.
            if time.time() - lock.stat().st_mtime > FETCH_WITHIN_S:
                lock.unlink(missing_ok=True)
            assert time.monotonic() < deadline, f"another test run holds {lock}"
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
