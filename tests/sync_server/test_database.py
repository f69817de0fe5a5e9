from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import literal, select

from shared.errors import Code, DomovoiError
from sync_server.store.connections import MAX_OPEN
from sync_server.store.database import Connection, Database, DuplicateKey
from sync_server.store.dialect import MySQL, dialect_for
from sync_server.store.migrations import upgrade
from sync_server.store.tables import server_setting
from tests.sync_server.device import Device, code_of
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mariadb import MariaDB


def write(name: str, value: str = "x") -> object:
    return server_setting.insert().values(name=name, value=value)


async def names(database: Database) -> set[str]:
    return {row["name"] for row in await database.all(select(server_setting))}


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    async def work(connection: Connection) -> None:
        await connection.run(write("half"))  # type: ignore[arg-type]
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.transact(work)
    assert await names(database) == set()


async def test_a_cancelled_transaction_leaves_nothing_and_no_lock(database: Database) -> None:
    inside = asyncio.Event()

    async def work(connection: Connection) -> None:
        await connection.run(write("half"))  # type: ignore[arg-type]
        inside.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(database.transact(work))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await database.run(write("whole"))  # type: ignore[arg-type]
    assert await names(database) == {"whole"}


async def test_the_same_key_twice_is_named_so(database: Database) -> None:
    await database.run(write("one"))  # type: ignore[arg-type]
    with pytest.raises(DuplicateKey):
        await database.run(write("one"))  # type: ignore[arg-type]


async def test_a_crowd_waits_for_its_turn(database: Database) -> None:
    """Each connection is a thread and files: as many as there are devices would be too many."""
    inside = most = 0

    async def work(connection: Connection) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await connection.one(select(literal(1)))
        inside -= 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(database.read(work) for _ in range(4 * MAX_OPEN)))
    assert 1 < most <= MAX_OPEN


async def test_deadlocks_are_tried_again(database: Database) -> None:
    for name in ("a", "b"):
        await database.run(write(name, "0"))  # type: ignore[arg-type]

    holds = {name: asyncio.Event() for name in ("a", "b")}
    attempts = 0

    async def add(first: str, then: str) -> None:
        async def work(connection: Connection) -> None:
            nonlocal attempts
            attempts += 1
            for name in (first, then):
                this = server_setting.c.name == name
                row = await connection.one(select(server_setting).where(this).with_for_update())
                assert row is not None
                await connection.run(server_setting.update().where(this).values(value=str(int(row["value"]) + 1)))
                holds[name].set()
                if isinstance(database.dialect, MySQL):
                    # Each has its first row before either asks for its second: one of them must give way.
                    await holds[then].wait()

        await database.transact(work)

    await asyncio.gather(add("a", "b"), add("b", "a"))
    assert {row["value"] for row in await database.all(select(server_setting))} == {"2"}
    # SQLite lets in one writer at a time, so that none meets another.
    assert attempts == (3 if isinstance(database.dialect, MySQL) else 2)


async def test_a_database_that_does_not_answer_in_time_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_server.store.database.ANSWER_WITHIN_S", 0.05)

    async def work(connection: Connection) -> None:
        await connection.one(select(literal(1)))
        await asyncio.Event().wait()

    with pytest.raises(DomovoiError) as failure:
        await database.transact(work)
    assert failure.value.code is Code.DATABASE_UNAVAILABLE


def test_requests_wait_out_a_database_that_was_killed(mariadb: MariaDB, tmp_path: Path) -> None:
    running = RunningServer(tmp_path, database_url=mariadb.new_database())
    try:
        owner = running.first_account()
        owner.write(b"\x01")
        batch = owner.batch([owner.change(b"\x02")])
        mariadb.kill()
        try:
            # More often than the pool has connections: none may be lost on the way.
            for _ in range(15):
                assert code_of(owner.send(batch)) == (503, "database_unavailable")
            assert code_of(owner.http.get("/readyz")) == (503, "database_unavailable")
            assert owner.http.get("/healthz").status_code == 200
        finally:
            mariadb.start()
        assert owner.send(batch).status_code == 200
        assert [change.value for change in owner.pull().changes] == [b"\x01", b"\x02"]
        for _ in range(15):
            assert owner.http.get("/readyz").status_code == 200
    finally:
        running.stop()


@pytest.mark.skipif(os.name != "posix", reason="Windows does not let go of an open file")
def test_requests_wait_out_a_file_that_went_away(tmp_path: Path) -> None:
    running = RunningServer(tmp_path)
    try:
        owner: Device = running.first_account()
        owner.write(b"\x01")
        files = [tmp_path / f"server.db{ending}" for ending in ("", "-wal", "-shm")]
        for path in files:
            path.rename(path.with_suffix(f"{path.suffix}.away"))
        (tmp_path / "server.db").mkdir()
        assert code_of(owner.http.get("/readyz")) == (503, "database_unavailable")
        assert code_of(owner.send(owner.batch([owner.change()]))) == (503, "database_unavailable")
        (tmp_path / "server.db").rmdir()
        for path in files:
            path.with_suffix(f"{path.suffix}.away").rename(path)
        owner.write(b"\x02")
        assert owner.pull().head == 2
    finally:
        running.stop()


@pytest.mark.skipif(os.name != "posix", reason="Windows does not let go of an open file")
async def test_a_file_put_in_place_of_ours_is_what_is_read_from_then_on(tmp_path: Path) -> None:
    dialect = dialect_for(None, tmp_path)
    upgrade(dialect)
    database = Database(dialect)
    await database.open()
    await database.run(write("kept in the backup"))  # type: ignore[arg-type]
    copy = tmp_path / "backup.db"
    with closing(sqlite3.connect(tmp_path / "server.db")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    await database.run(write("written later"))  # type: ignore[arg-type]
    for ending in ("-wal", "-shm"):
        (tmp_path / f"server.db{ending}").unlink()
    copy.rename(tmp_path / "server.db")
    assert await names(database) == {"kept in the backup"}
    await database.close()
