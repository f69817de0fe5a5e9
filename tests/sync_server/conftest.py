"""Servers for tests: the same suite over SQLite and over a real MariaDB."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sync_server.accounts import passwords
from sync_server.store.database import Database
from sync_server.store.dialect import dialect_for
from sync_server.store.migrations import upgrade
from sync_server.store.tables import account
from tests.sync_server.fake_node import Identity
from tests.sync_server.running_server import RunningServer, SetAccount, StartServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.mariadb import MariaDB
    from tests.sync_server.device import Device


# What these look at never touches SQL in a way of its own: once is enough.
ONE_DATABASE_IS_ENOUGH = {"test_content", "test_guard", "test_health", "test_relay"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the second database where it can't make a difference."""
    items[:] = [item for item in items if not ("[mariadb" in item.name and item.path.stem in ONE_DATABASE_IS_ENOUGH)]


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Hash with a sixty-fourth of the memory; `test_passwords.py` looks at the real cost."""
    patch = pytest.MonkeyPatch()
    patch.setattr(passwords, "MEMORY_KIB", 1024)
    patch.setattr(passwords, "PASSES", 1)
    yield
    patch.undo()


@pytest.fixture(scope="session", params=["sqlite", "mariadb"])
def new_database(request: pytest.FixtureRequest) -> Callable[[], str | None]:
    """Return a function that makes an empty database and returns its address; None is SQLite in the data folder."""
    if request.param == "sqlite":
        return lambda: None
    mariadb: MariaDB = request.getfixturevalue("mariadb")
    return mariadb.new_database


@pytest.fixture
async def database(new_database: Callable[[], str | None], tmp_path: Path) -> AsyncIterator[Database]:
    """An empty, open database."""
    dialect = dialect_for(new_database(), tmp_path)
    upgrade(dialect)
    made = Database(dialect)
    await made.open()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def shared_server(
    new_database: Callable[[], str | None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """One server a database for the many tests that only need an account of their own."""
    running = RunningServer(tmp_path_factory.mktemp("server") / "data", database_url=new_database())
    running.first_account()
    yield running
    running.stop()


@pytest.fixture
def start_server(new_database: Callable[[], str | None], tmp_path: Path) -> Iterator[StartServer]:
    """Return a function that starts a server with an empty database."""
    started: list[RunningServer] = []

    def start(**settings: Any) -> RunningServer:
        data = settings.pop("data", tmp_path / f"data-{len(started)}")
        started.append(RunningServer(data, **{"database_url": new_database(), **settings}))
        return started[-1]

    yield start
    for running in started:
        running.stop()


_numbers = itertools.count(1)


@pytest.fixture
def device(shared_server: RunningServer) -> Device:
    """A device of a new account of the shared server."""
    return shared_server.new_account(f"Person {next(_numbers)}")


@pytest.fixture
def stranger(shared_server: RunningServer) -> Device:
    """A device of another new account."""
    return shared_server.new_account(f"Person {next(_numbers)}")


@pytest.fixture
def set_account(shared_server: RunningServer) -> SetAccount:
    """Return a function that changes columns of an account in the database, as no endpoint of ours can."""

    def set_account(device: Device, **values: int) -> None:
        async def update() -> None:
            settings = shared_server.settings
            database = Database(dialect_for(settings.database_url, settings.data))
            await database.open()
            statement = account.update().where(account.c.account_id == device.account_id)
            await database.run(statement.values(**values))
            await database.close()

        asyncio.run(update())

    return set_account


@pytest.fixture(scope="session")
def identity(shared_server: RunningServer) -> Identity:
    """A node that the shared server knows: it serves every account."""
    made = Identity()
    made.enrol(shared_server.settings.data)
    with httpx.Client(base_url=shared_server.url, trust_env=False) as http:
        assert http.post("/api/v1/auth/node", json={"assertion": made.assertion()}).status_code == 200
    return made
