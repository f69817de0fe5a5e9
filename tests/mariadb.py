"""A MariaDB of one's own for tests: in a temporary folder, on a free port, fast rather than durable."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pymysql

READY_WITHIN_S = 60.0
_FOLDERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"])
_SETTINGS = (
    "--no-defaults",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    # Given to the system at each commit: outlives a kill, though not a power cut.
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0",
)


def mariadbd_path() -> str | None:
    """Return the server program, or None where it is not installed."""
    return shutil.which("mariadbd", path=_FOLDERS)


class MariaDB:
    """One server. It can be killed and started again on the same port with the same data."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="domovoi-mariadb-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.port = _free_port()
        # As root it must be told so; otherwise it works as whoever runs the tests.
        self._as_user = ("--user=root",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
        self._install()

    def start(self) -> None:
        """Start and wait until it answers."""
        program = mariadbd_path()
        assert program is not None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    *_SETTINGS,
                    *self._as_user,
                    f"--datadir={self._data}",
                    f"--port={self.port}",
                    f"--socket={self._folder / 'socket'}",
                    f"--pid-file={self._folder / 'pid'}",
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                self.run("SELECT 1")
                return
            except pymysql.err.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    text = (self._folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"mariadbd does not answer: {text}") from error
                time.sleep(0.05)

    def kill(self) -> None:
        """End it as kill -9 does, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def remove(self) -> None:
        """End it and remove its data."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, statement: str, values: tuple[Any, ...] = (), database: str | None = None) -> list[tuple[Any, ...]]:
        """Execute one statement as root and return its rows."""
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, connect_timeout=5
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def new_database(self) -> str:
        """Make an empty schema and return its DOMOVOI_DATABASE_URL."""
        self._databases += 1
        name = f"domovoi_{self._databases}"
        self.run(f"CREATE DATABASE {name}")
        return f"mariadb://root@127.0.0.1:{self.port}/{name}"

    def _install(self) -> None:
        program = shutil.which("mariadb-install-db", path=_FOLDERS)
        assert program is not None, "mariadb-install-db is missing beside mariadbd"
        settings = (
            "--no-defaults",
            f"--datadir={self._data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=16M",
        )
        subprocess.run([program, *settings, *self._as_user], check=True, capture_output=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
