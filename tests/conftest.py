"""What holds for every test."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from types import ModuleType
from typing import TYPE_CHECKING, Any

import certifi
import pytest
import uvicorn.server
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


class QuickAsyncio(ModuleType):
    """asyncio, but a pause takes a tenth of its time."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay / 10)


@pytest.fixture(scope="session", autouse=True)
def quick_libraries() -> Iterator[None]:
    """Spare what hundreds of servers and clients would spend on themselves: a quarter of the time of such tests.

    uvicorn looks ten times a second whether it shall stop, and then waits as long once more; every client of httpx
    reads the world's certificates anew, for 25 ms.
    """
    read_anew, worlds = ssl.create_default_context, certifi.where()
    read_once = functools.cache(lambda: read_anew(cafile=worlds))

    def context(*arguments: Any, **named: Any) -> ssl.SSLContext:
        return read_once() if not arguments and named == {"cafile": worlds} else read_anew(*arguments, **named)

    patch = pytest.MonkeyPatch()
    patch.setattr(uvicorn.server, "asyncio", QuickAsyncio("asyncio"))
    patch.setattr(ssl, "create_default_context", context)
    yield
    patch.undo()
