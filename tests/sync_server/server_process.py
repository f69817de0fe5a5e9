"""The server as a process of its own, to be killed at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx

from tests.mariadb import _free_port

if TYPE_CHECKING:
    from pathlib import Path

READY_WITHIN_S = 120.0
_PROGRAM = """
import asyncio, sys
from pathlib import Path
from sync_server.main import serve
from sync_server.settings import ServerSettings
asyncio.run(serve(ServerSettings(Path(sys.argv[1]), port=int(sys.argv[2]), database_url=sys.argv[3] or None)))
"""


class ServerProcess:
    """One server over one data folder, on one port, in one process after the other."""

    def __init__(self, data: Path, database_url: str | None) -> None:
        self.port = _free_port()
        self.url = f"http://localhost:{self.port}"
        self._arguments = [str(data), str(self.port), database_url or ""]
        self._log = data.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[httpx.Client] = []

    @property
    def process_id(self) -> int:
        """The process that runs now."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> httpx.Client:
        """Return a client that outlives the processes."""
        self._clients.append(httpx.Client(base_url=self.url, trust_env=False, timeout=READY_WITHIN_S))
        return self._clients[-1]

    def start(self) -> None:
        """Start a process and wait until it answers."""
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with self._log.open("ab") as log:
            command = [sys.executable, "-c", _PROGRAM, *self._arguments]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                httpx.get(f"{self.url}/healthz", trust_env=False)
                return
            except httpx.TransportError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self._log.read_text(errors="replace")[-3000:]) from error
                time.sleep(0.02)

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it and its clients."""
        self.kill()
        for client in self._clients:
            client.close()
