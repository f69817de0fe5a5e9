"""A whole Domovoi in a temporary folder: real processes on free ports, to be killed at will."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
from sqlalchemy import ColumnElement, create_engine, make_url, select, true

from shared import values
from shared.change import EntityType, MessageField
from sync_server.store.tables import cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
START_WITHIN_S = 60.0
STOP_WITHIN_S = 15.0
POLL_S = 0.02
# How a slow engine spends its time.
RUNS_S, HELD_S = 0.005, 0.095


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, within_s: float = START_WITHIN_S) -> None:
    """Poll until `condition` holds. Raises AssertionError naming `what` after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {within_s:g} s"
        time.sleep(POLL_S)


@dataclass
class Household:
    """One data folder and the processes that use it."""

    data: Path
    port: int = field(default_factory=free_port)
    node_port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def node_url(self) -> str:
        return f"http://localhost:{self.node_port}"

    @property
    def full_environment(self) -> dict[str, str]:
        return os.environ | self.environment

    def add_model(self, model: Path) -> None:
        """Put a model file into the data folder; it keeps its date, as what was just written is not offered at once."""
        models = self.data / "models"
        models.mkdir(parents=True, exist_ok=True)
        try:
            os.link(model, models / model.name)
        except OSError:
            # Another file system.
            shutil.copy2(model, models / model.name)

    def start(self, *parts: str) -> None:
        """Start `server`, `node` or `up`, all at once, and wait until they answer.

        A node answers before its engine does: the model is loaded while the browser opens, as at home.
        """
        for part in parts:
            self.spawn(part)
        for part in parts:
            url = self.node_url if part == "node" else self.url
            wait_until(partial(self.answers, part, f"{url}/healthz"), f"the start of {part}")

    def spawn(self, part: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a part without waiting; its output goes to `<data>/<part>.log`."""
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / f"{part}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.command(part), *self.flags(), *arguments],
                cwd=ROOT,
                env=self.full_environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes[part] = process
        return process

    def command(self, *words: str) -> list[str]:
        """Return what runs `domovoi` with these words."""
        return [sys.executable, "-m", "deploy.command", *words]

    def flags(self) -> list[str]:
        return ["--data", str(self.data), "--port", str(self.port), "--node-port", str(self.node_port)]

    def answers(self, part: str, url: str) -> bool:
        """Say whether the part answers at `url`; a part that ended is an error that shows its log."""
        process = self.processes[part]
        assert process.poll() is None, f"{part} ended with {process.returncode}:\n{self.log(part)}"
        try:
            return httpx.get(url, trust_env=False).is_success or part == "node"
        except httpx.TransportError:
            return False

    def log(self, part: str) -> str:
        return (self.data / f"{part}.log").read_text("utf-8", errors="replace")

    def kill(self, part: str) -> None:
        """SIGKILL the process: no goodbye, no flush."""
        process = self.processes.pop(part)
        process.kill()
        process.wait(STOP_WITHIN_S)

    def stop(self, part: str) -> int:
        """Ask the process to end and return its exit code."""
        process = self.processes.pop(part)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{part} did not stop:\n{self.log(part)}") from None

    def engine(self) -> psutil.Process:
        """Return the process of the node's engine, as soon as there is one and no other that is being measured."""
        node = psutil.Process(self.processes["node"].pid)
        wait_until(lambda: len(node.children(recursive=True)) == 1, "an engine")
        return node.children(recursive=True)[0]

    @contextmanager
    def slow_engine(self) -> Iterator[None]:
        """Give the engine a twentieth of the time, so that an answer lasts longer than what happens in its middle."""
        engine, ended = self.engine(), threading.Event()

        def hold_now_and_then() -> None:
            with suppress(psutil.NoSuchProcess):
                while not ended.wait(RUNS_S):
                    engine.suspend()
                    ended.wait(HELD_S)
                    engine.resume()

        holding = threading.Thread(target=hold_now_and_then)
        holding.start()
        try:
            yield
        finally:
            ended.set()
            holding.join()

    def stop_all(self) -> None:
        for part in list(self.processes):
            self.stop(part)

    def finished_answers(self) -> int:
        """Return how many answers have a final state in the server's database."""
        is_state = (cell.c.etype == EntityType.MESSAGE) & (cell.c.field == MessageField.STATE)
        states = [values.decode(value, values.State) for value in self._cells(is_state)]
        return sum(state is not None and state.state in values.FINAL_STATES for state in states)

    def holds(self, text: str) -> bool:
        """Say whether any cell of the server's database has the text."""
        return any(text.encode() in value for value in self._cells(true()))

    def _cells(self, condition: ColumnElement[bool]) -> list[bytes]:
        """Return the values of the server's cells where that is so."""
        address = self.environment.get("DOMOVOI_DATABASE_URL")
        sqlite = f"sqlite:///{self.data / 'server.db'}"
        # Playwright has this thread's event loop, so a synchronous driver.
        engine = create_engine(make_url(address).set(drivername="mysql+pymysql") if address else sqlite)
        try:
            with engine.connect() as connection:
                return list(connection.scalars(select(cell.c.value).where(condition)))
        finally:
            engine.dispose()

    def wait_for_finished_answers(self, count: int) -> None:
        """Wait until the server has committed that many finished answers."""
        wait_until(lambda: self.finished_answers() >= count, f"the end of {count} answers")

    @property
    def setup_code(self) -> str:
        return (self.data / "setup-code").read_text("utf-8").strip()
