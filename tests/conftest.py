"""What holds for every test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.mariadb import MariaDB, mariadbd_path
from tests.model import default_test_model, tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["default_test_model", "tiny_model"]

# Times vary on a busy machine, so no deadline; a failure prints the blob that reproduces it.
settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000)
settings.load_profile("thorough" if os.environ.get("DOMOVOI_SLOW_TESTS") else "quick")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """One real server for all tests that want one; each makes databases of its own in it."""
    if mariadbd_path() is None:
        pytest.skip("MariaDB IS NOT INSTALLED: apt-get install mariadb-server")
    server = MariaDB()
    try:
        server.start()
        yield server
    finally:
        server.remove()
