"""Rule L10 against kill -9 of server and database, at any moment, while devices write; an oracle keeps the acks."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from shared.change import cell_key
from shared.wire import Pushed
from tests.sync_server.device import Device
from tests.sync_server.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shared.change import CellKey, Change
    from tests.mariadb import MariaDB

# A start of the server takes a second of processor time, so one kill stands for the two hundred.
ROUNDS = 200 if os.environ.get("DOMOVOI_SLOW_TESTS") else 1
WRITERS = 3
# Far more than any round takes, however busy the machine is.
WITHIN_S = 240
MOST_PUSHES_A_ROUND = 40
# Few, so that writers overwrite each other.
ENTITIES = 5


class Writer:
    """A device that pushes for ever, again and again until it is answered."""

    def __init__(self, device: Device, rng: random.Random, on_acknowledged: Callable[[], None]) -> None:
        self.device = device
        self.attempted: list[Change] = []
        self.acknowledged: list[Change] = []
        self._rng = rng
        self._on_acknowledged = on_acknowledged
        self.is_stopped = False
        self.is_alive = threading.Event()

    def run(self) -> None:
        while not self.is_stopped:
            changes = [self._change() for _ in range(self._rng.randint(1, 4))]
            self.attempted += changes
            self._push(changes)

    def _push(self, changes: list[Change]) -> None:
        batch = self.device.batch(changes)
        while True:
            self.is_alive.wait()
            try:
                response = self.device.send(batch)
            except httpx.TransportError:
                if self.is_stopped:
                    return
                continue
            if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                continue
            assert response.status_code == httpx.codes.OK, response.text
            pushed = msgspec.msgpack.decode(response.content, type=Pushed)
            assert (pushed.acked_dseq, pushed.rejected) == (self.device.dseq + len(changes), [])
            self.device.note(changes)
            self.acknowledged += changes
            self._on_acknowledged()
            return

    def _change(self) -> Change:
        eid = bytes([self._rng.randrange(ENTITIES)]) * 16 if self._rng.random() < 0.5 else self._rng.randbytes(16)
        return self.device.change(self._rng.randbytes(8), eid=eid)


class Counter:
    """Counts acknowledged pushes, and lets somebody wait for the n-th from now."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def add(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_for(self, more: int) -> None:
        with self._changed:
            target = self._count + more
            assert self._changed.wait_for(lambda: self._count >= target, timeout=WITHIN_S)


@pytest.mark.timeout(3600)
def test_L10_no_acknowledged_change_is_lost_to_kill_9(
    new_database: Callable[[], str | None], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  # shown when it fails
    rng = random.Random(seed)
    database_url = new_database()
    mariadb: MariaDB | None = None if database_url is None else request.getfixturevalue("mariadb")
    server = ServerProcess(tmp_path / "data", database_url)
    counter = Counter()
    try:
        server.start()
        code = (tmp_path / "data" / "setup-code").read_text().strip()
        first = Device.registered(server.client, "Owner", setup_code=code)
        devices = [first, *(Device.logged_in(server.client, "Owner") for _ in range(WRITERS - 1))]
        writers = [Writer(device, random.Random(rng.random()), counter.add) for device in devices]
        with ThreadPoolExecutor(WRITERS) as threads:
            running = [threads.submit(writer.run) for writer in writers]
            try:
                for number in range(ROUNDS):
                    play_round(server, mariadb, writers, counter, rng, is_first=number == 0)
            finally:
                for writer in writers:
                    writer.is_stopped = True
                    writer.is_alive.set()
            for future in running:
                future.result()
        check(first, writers)
    finally:
        server.close()


def play_round(
    server: ServerProcess,
    mariadb: MariaDB | None,
    writers: list[Writer],
    counter: Counter,
    rng: random.Random,
    *,
    is_first: bool,
) -> None:
    """Let the devices write for a while, then kill the server, and now and then its database first."""
    for writer in writers:
        writer.is_alive.set()
    counter.wait_for(rng.randint(1, MOST_PUSHES_A_ROUND))
    is_database_killed = mariadb is not None and (is_first or rng.random() < 0.3)
    if mariadb is not None and is_database_killed:
        mariadb.kill()
    for writer in writers:
        writer.is_alive.clear()
    server.kill()
    if mariadb is not None and is_database_killed:
        mariadb.start()
    server.start()


def check(reader: Device, writers: list[Writer]) -> None:
    """Hold the log against the oracle."""
    cells: dict[CellKey, bytes] = {}
    cursor = 0
    while True:
        pulled = reader.pull(cursor)
        cells |= {cell_key(change): change.clk for change in pulled.changes}
        if not pulled.more:
            break
        cursor = pulled.changes[-1].seq
    newest: dict[CellKey, bytes] = {}
    for writer in writers:
        assert writer.acknowledged == writer.attempted
        for change in writer.acknowledged:
            newest[cell_key(change)] = max(change.clk, newest.get(cell_key(change), b""))
    assert cells == newest
