"""What a push can't do without, in bare SQL: raise the account's head, write the cells, move the device on, commit."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 4.0
_TABLES = (
    "CREATE TABLE bare_head (account BINARY(16) PRIMARY KEY, head BIGINT NOT NULL)",
    "CREATE TABLE bare_device (account BINARY(16), device BINARY(8), dseq BIGINT, hash BINARY(32), "
    "PRIMARY KEY (account, device))",
    "CREATE TABLE bare_cell (account BINARY(16), etype INT, eid BINARY(16), field INT, clk BINARY(16), "
    "value VARBINARY(300), seq BIGINT, PRIMARY KEY (account, etype, eid, field), UNIQUE (account, seq))",
)


class BareSql:
    """A database beside the server's."""

    def __init__(self, connect: Callable[[], Any], mark: str, begin: str) -> None:
        self._connect = connect
        self._mark = mark
        self._begin = begin
        with closing(connect()) as connection:
            for statement in _TABLES:
                connection.cursor().execute(statement)
            connection.commit()

    @classmethod
    @contextmanager
    def of(cls, url: str | None) -> Iterator[BareSql]:
        """Open tables in the same MariaDB, or in an SQLite file of their own."""
        if url is not None:
            at = make_url(url)

            def connect() -> Any:
                return pymysql.connect(
                    host=at.host,
                    port=at.port or 3306,
                    user=at.username,
                    password=at.password or "",
                    database=at.database,
                )

            yield cls(connect, "%s", "BEGIN")
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "bare.db"

            def open_file() -> Any:
                made = sqlite3.connect(file, isolation_level=None, timeout=30)
                made.execute("PRAGMA journal_mode = WAL")
                made.execute("PRAGMA synchronous = FULL")
                return made

            yield cls(open_file, "?", "BEGIN IMMEDIATE")

    def rate(self, writers: int, size: int, *, is_hot: bool) -> float:
        """Return changes a second that so many connections write, into one account or one each."""
        stop = time.perf_counter() + SECONDS
        shared = os.urandom(16)
        ready = threading.Barrier(writers)

        def write(_: int) -> int:
            account = shared if is_hot else os.urandom(16)
            with closing(self._connect()) as connection:
                ready.wait()
                return self._write(connection, account, size, stop)

        begun = time.perf_counter()
        with ThreadPoolExecutor(writers) as threads:
            return sum(threads.map(write, range(writers))) / (time.perf_counter() - begun)

    def _write(self, connection: Any, account: bytes, size: int, stop: float) -> int:
        cursor, device, count = connection.cursor(), os.urandom(8), 0
        mark = self._mark
        ignore = "OR IGNORE" if mark == "?" else "IGNORE"
        cursor.execute(f"INSERT {ignore} INTO bare_head VALUES ({mark}, 0)", (account,))
        cursor.execute(f"INSERT INTO bare_device VALUES ({mark}, {mark}, 0, {mark})", (account, device, bytes(32)))
        connection.commit()
        while time.perf_counter() < stop:
            cursor.execute(self._begin)
            cursor.execute(f"UPDATE bare_head SET head = head + {size} WHERE account = {mark}", (account,))
            cursor.execute(f"SELECT head FROM bare_head WHERE account = {mark}", (account,))
            head = cursor.fetchone()[0]
            rows = [(account, 2, os.urandom(16), 1, os.urandom(16), b"x", head - number) for number in range(size)]
            cursor.executemany(f"INSERT INTO bare_cell VALUES ({', '.join([mark] * 7)})", rows)
            cursor.execute(
                f"UPDATE bare_device SET dseq = dseq + {size} WHERE account = {mark} AND device = {mark}",
                (account, device),
            )
            connection.commit()
            count += size
        return count
