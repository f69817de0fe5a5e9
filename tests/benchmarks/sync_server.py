"""What the sync server bears: pushes a second, reading a large account, bytes on the wire.

Over HTTP with authentication, against a server in a process of its own; clients and server share this machine. Beside
it bare SQL does in the same database what a push can't do without: raise the head, write cells, move the device on.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

from shared import clock
from shared.change import Change, MessageField
from shared.merge import merge
from sync_server.accounts.invitations import invite
from sync_server.store.database import Database
from sync_server.store.dialect import dialect_for
from tests.benchmarks.bare_sql import BareSql
from tests.benchmarks.raw_http import RawClient, request_bytes
from tests.benchmarks.records import Record, report
from tests.mariadb import MariaDB, mariadbd_path
from tests.structure.tracked import ROOT
from tests.sync_server.device import MESSAGEPACK, Device
from tests.sync_server.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECONDS = 4.0
WRITERS = 16
ACCOUNTS = 64
BATCH = 100
MESSAGES = 100_000
MESSAGE_BYTES = 250
CONVERSATIONS = 100
# A message is two cells here: header and body.
CELLS_A_PUSH = 500
MERGED = 100_000


def main() -> None:
    """Measure, print and write the records."""
    records = [*merging()]
    for name, url in _databases():
        with _house(url) as house:
            records += pushing(house, name)
    with _house(None) as house:
        records += wire(house)
        records += reading(house)
    report("sync_server", records)


def _databases() -> Iterator[tuple[str, str | None]]:
    yield "SQLite, WAL, synchronous FULL", None
    if mariadbd_path() is None:
        return
    mariadb = MariaDB()
    mariadb.start()
    try:
        yield "MariaDB, flush_log_at_trx_commit=2", mariadb.new_database()
    finally:
        mariadb.remove()


@dataclass
class House:
    """A server and its first device."""

    server: ServerProcess
    data: Path
    url: str | None
    owner: Device

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.server.process_id)

    def accounts(self, count: int) -> list[Device]:
        """Return devices of so many new accounts."""
        codes = asyncio.run(self._invite(count))
        names = [f"Guest {number}" for number in range(count)]
        return [
            Device.registered(self.server.client, name, invitation=code)
            for name, code in zip(names, codes, strict=True)
        ]

    async def _invite(self, count: int) -> list[str]:
        database = Database(dialect_for(self.url, self.data))
        await database.open()
        codes = [(await invite(database)).code for _ in range(count)]
        await database.close()
        return codes


@contextmanager
def _house(url: str | None) -> Iterator[House]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        server = ServerProcess(data, url)
        server.start()
        try:
            code = (data / "setup-code").read_text().strip()
            yield House(server, data, url, Device.registered(server.client, "Owner", setup_code=code))
        finally:
            server.close()


def pushing(house: House, database: str) -> list[Record]:
    """Return pushes a second: one account's sixteen devices, and sixty-four accounts."""
    hot = [house.owner, *(house.owner.sibling() for _ in range(WRITERS - 1))]
    many = [house.owner, *house.accounts(ACCOUNTS - 1)]
    figures = []
    with BareSql.of(house.url) as bare:
        for devices, who in ((hot, "one hot account, 16 devices"), (many, "64 accounts")):
            for size in (1, BATCH):
                ours = asyncio.run(_push(house.server, devices, size))
                peer = bare.rate(WRITERS, size, is_hot=devices is hot)
                workload = f"{who}, {size} change(s) a push, {database}"
                figures.append(Record("changes_per_second", workload, ours, "1/s", 1, "bare SQL", peer, ours / peer))
    return figures


async def _push(server: ServerProcess, devices: Sequence[Device], size: int) -> float:
    """Return changes acknowledged a second while every device pushes one batch after the other."""
    until = time.perf_counter() + SECONDS
    begun = time.perf_counter()
    counts = await asyncio.gather(*(_push_one(server, device, size, until) for device in devices))
    return sum(counts) / (time.perf_counter() - begun)


async def _push_one(server: ServerProcess, device: Device, size: int, until: float) -> int:
    client = await RawClient.connect(server.port)
    count = 0
    while time.perf_counter() < until:
        changes = [device.change() for _ in range(size)]
        body = msgspec.msgpack.encode(device.batch(changes))
        status, _ = await client.ask(request_bytes("POST", "/api/v1/sync/push", device.bearer | MESSAGEPACK, body))
        assert status == 200
        device.note(changes)
        count += size
    client.close()
    return count


def reading(house: House) -> list[Record]:
    """Return how long a new device takes to get 100,000 messages, page by page, and what the server needs for it."""
    device = house.owner
    _fill(device)
    process = house.process
    before = process.memory_info().rss
    figures = []
    workload = f"{MESSAGES:,} messages of {MESSAGE_BYTES} bytes in {CONVERSATIONS} conversations"
    for what, path in (
        ("pull", f"/api/v1/sync/pull?limit=1000&epoch={device.epoch}&since="),
        ("bootstrap", "/api/v1/sync/bootstrap?after="),
    ):
        begun = time.perf_counter()
        plain = zipped = pages = 0
        after: str | None = "0" if what == "pull" else ""
        while after is not None:
            address = path + after if after else path.partition("?")[0]
            response = device.request("GET", address, headers={**MESSAGEPACK, "accept-encoding": "gzip"})
            body = response.content
            pages += 1
            plain += len(body)
            zipped += int(response.headers.get("content-length", len(body)))
            page = msgspec.msgpack.decode(body)
            if what == "bootstrap":
                after = page["after"]
                continue
            after = str(page["changes"][-1][7]) if page["more"] else None
        seconds = time.perf_counter() - begun
        figures += [
            Record(f"{what}_all", workload, seconds, "s", 1),
            Record(f"{what}_all_plain", workload, plain / 2**20, "MiB", 1),
            Record(
                f"{what}_all_on_the_wire",
                workload,
                zipped / 2**20,
                "MiB",
                1,
                "Yjs (numbers.md)",
                59,
                zipped / 2**20 / 59,
            ),
        ]
    grown = process.memory_info().rss - before
    figures.append(Record("reading_server_memory", workload, grown / 2**20, "MiB more", 1))
    return figures


def _fill(device: Device) -> None:
    scopes = [number.to_bytes(16, "big") for number in range(1, CONVERSATIONS + 1)]
    letters = random.Random(1)
    header = msgspec.msgpack.encode({"role": "user", "parent": None})
    places = [(scopes[number % CONVERSATIONS], (10_000 + number).to_bytes(16, "big")) for number in range(MESSAGES)]
    for start in range(0, MESSAGES, CELLS_A_PUSH // 2):
        changes = []
        for scope, eid in places[start : start + CELLS_A_PUSH // 2]:
            changes.append(device.change(header, etype=3, eid=eid, field=int(MessageField.HEADER), scope=scope))
            # Letters without sense: they compress by a quarter, where prose does by half.
            text = msgspec.msgpack.encode(letters.randbytes(MESSAGE_BYTES).hex()[: MESSAGE_BYTES - 3])
            changes.append(device.change(text, etype=3, eid=eid, field=int(MessageField.BODY), scope=scope))
        device.push(*changes)


def wire(house: House) -> list[Record]:
    """Return the bytes that a change costs beyond its value, and those of a sync with nothing in it."""
    device = house.owner
    value = msgspec.msgpack.encode("x" * 40)
    changes = [device.change(value) for _ in range(BATCH)]
    body = msgspec.msgpack.encode(device.batch(changes))
    device.push(*changes)
    page = device.request("GET", "/api/v1/sync/pull?since=0", headers=MESSAGEPACK).content
    pulled = msgspec.msgpack.decode(page)
    idle = device.request(
        "GET", f"/api/v1/sync/pull?since={pulled['head']}&epoch={device.epoch}", headers=MESSAGEPACK
    ).content
    workload = f"{BATCH} changes in a batch, beyond their values"
    size = sum(len(change[6]) for change in pulled["changes"])
    return [
        Record("push_bytes_per_change", workload, (len(body) - BATCH * len(value)) / BATCH, "B", 1, "target", 60),
        Record("pull_bytes_per_change", workload, (len(page) - size) / len(pulled["changes"]), "B", 1, "target", 70),
        Record("push_bytes_per_change_gzip", workload, len(gzip.compress(body)) / BATCH, "B with value", 1),
        Record("idle_sync", "body of a pull that brings nothing", len(idle), "B", 1, "target", 200),
    ]


def merging() -> Iterator[Record]:
    """Yield how fast both languages merge the same changes into cells in memory."""
    last = clock.ZERO
    changes = []
    for number in range(MERGED):
        last = clock.tick(last, 1_700_000_000_000 + number, b"12345678")
        changes.append(Change(last, 3, (number % 20_000).to_bytes(16, "big"), number % 4, b"s" * 16, 0, b"v"))
    begun = time.perf_counter()
    merge({}, changes)
    workload = f"{MERGED:,} changes of 20,000 entities, in memory"
    yield Record("merge_python", workload, MERGED / (time.perf_counter() - begun), "changes/s", 1)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = ("npx", "vitest", "bench", "--run", "--outputJson", file.name)
        subprocess.run(command, cwd=ROOT / "pwa", stdout=subprocess.DEVNULL, check=True)
        figures = json.loads(Path(file.name).read_bytes())["files"][0]["groups"][0]["benchmarks"][0]
    yield Record("merge_typescript", workload, MERGED * figures["hz"], "changes/s", figures["sampleCount"])


if __name__ == "__main__":
    main()
