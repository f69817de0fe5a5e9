"""What ten thousand devices cost that only listen, and what one change costs among them.

Each is a device of its own with a token of its own: ten to an account, as in a family that keeps everything. They come
from many addresses of this machine, since one address has only so many ports. The peer is bare sse-starlette, in turn.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
from sqlalchemy import create_engine

from shared.canonical import FIRST_HASH
from shared.limits import EVENT_STREAM_PING_S
from shared.tokens import SYNC_AUDIENCE
from sync_server.accounts.signing_keys import SigningKeys
from sync_server.store.tables import account, device
from tests.benchmarks import bare_events
from tests.benchmarks.records import Record, report
from tests.end_to_end.household import free_port, wait_until
from tests.sync_server.device import Device
from tests.sync_server.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICES = int(os.environ.get("DEVICES", "10000"))
DEVICES_AN_ACCOUNT = 10
# At once: a server that has come back gets them as fast as it takes them.
CONNECTING = int(os.environ.get("CONNECTING", "1000"))
PORTS_AN_ADDRESS = 2000
SETTLES_S = EVENT_STREAM_PING_S + 2.0
SECONDS = 2.0 * EVENT_STREAM_PING_S
CHANGES = 50
MEMORY_TARGET_KIB = 64.0
# Descriptors for everything else.
SPARED = 500


class Cost(NamedTuple):
    """Of a server that holds so many streams: KiB each, % of a core, and how many came in a second."""

    memory_kib: float
    processor: float
    arrivals: float


def main() -> None:
    """Measure, print and write the records."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(DEVICES, hard - SPARED)
    try:
        with _house() as (server, owner, data):
            tokens = _devices(data, owner, count)
            ours, quiet_ms, among_ms = asyncio.run(_hold_ours(server, owner, tokens))
        with _bare() as (process, port):
            peer = asyncio.run(_hold(process, port, [""] * count))[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    report("idle_devices", _records(count, ours, peer, quiet_ms, among_ms))


def _records(count: int, ours: Cost, peer: Cost, quiet_ms: float, among_ms: float) -> list[Record]:
    workload = f"{count:,} devices that hold an event stream, {DEVICES_AN_ACCOUNT} to an account"
    change = f"a change, from its push to the same account's other device, {count:,} idle"

    def record(
        figure: str, value: float, unit: str, peer_value: float, peer_name: str = "bare sse-starlette"
    ) -> Record:
        return Record(figure, workload, value, unit, 1, peer_name, peer_value, value / peer_value)

    return [
        record("idle_memory", ours.memory_kib, "KiB each", MEMORY_TARGET_KIB, "the target"),
        record("idle_memory", ours.memory_kib, "KiB each", peer.memory_kib),
        record("idle_processor", ours.processor, "% of a core", peer.processor),
        record("idle_arrivals", ours.arrivals, "1/s", peer.arrivals),
        Record("change_among_idle", change, among_ms, "ms", CHANGES, "none idle", quiet_ms, among_ms / quiet_ms),
    ]


# The devices.


def _devices(data: Path, owner: Device, count: int) -> list[str]:
    """Write accounts and devices into the database, and return a token for each device.

    A hundred thousand logins would take hours, as they should: each hashes a password.
    """
    keys = SigningKeys(data / "keys")
    engine = create_engine(f"sqlite:///{data / 'server.db'}")
    now_ms = time.time_ns() // 1_000_000
    tokens, accounts, devices = [], [], []
    for number in range(count):
        if number % DEVICES_AN_ACCOUNT == 0:
            account_id = os.urandom(16)
            accounts.append(_account(account_id, f"guest-{number}", now_ms))
        device_id = os.urandom(8)
        devices.append(_device(account_id, device_id, now_ms))
        tokens.append(keys.issue(account_id, device_id, SYNC_AUDIENCE).access_token)
    with engine.begin() as connection:
        connection.execute(account.insert(), accounts)
        connection.execute(device.insert(), devices)
    engine.dispose()
    return tokens


def _account(account_id: bytes, name: str, now_ms: int) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "username": name,
        "username_folded": name.encode(),
        "password_hash": "none",
        "is_owner": False,
        "head": 0,
        "floor": 0,
        "epoch": 1,
        "bytes_used": 0,
        "quota_bytes": 2**30,
        "created_ms": now_ms,
    }


def _device(account_id: bytes, device_id: bytes, now_ms: int) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "device_id": device_id,
        "kind": "app",
        "name": "Phone",
        "last_dseq": 0,
        "last_hash": FIRST_HASH,
        "created_ms": now_ms,
        "last_seen_ms": now_ms,
    }


class _Listener(asyncio.Protocol):
    """An event stream that costs the benchmark next to nothing. `heard` is what came, as far as it is wanted."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.status: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self.is_cut = False
        self.heard: asyncio.Queue[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.status.done():
            self.status.set_result(data[:12])
        if self.heard is not None:
            self.heard.put_nowait((time.perf_counter_ns(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_cut = True


async def _listen(port: int, token: str, number: int) -> _Listener:
    head = f"GET /api/v1/events HTTP/1.1\r\nhost: localhost:{port}\r\nauthorization: Bearer {token}\r\n\r\n"
    local = ("127.0.1." + str(1 + number // PORTS_AN_ADDRESS), 0)
    loop = asyncio.get_running_loop()
    _, listener = await loop.create_connection(lambda: _Listener(head.encode()), "127.0.0.1", port, local_addr=local)
    assert await listener.status == b"HTTP/1.1 200", await listener.status
    return listener


async def _hold(process: psutil.Process, port: int, tokens: list[str]) -> tuple[Cost, list[_Listener]]:
    # The first stream pays for what is loaded once.
    first = await _listen(port, tokens[0], 0)
    before = process.memory_info().rss
    began = time.monotonic()
    numbers = iter(range(1, len(tokens)))
    listeners = [first]

    async def connect() -> None:
        for number in numbers:
            listeners.append(await _listen(port, tokens[number], number))  # noqa: PERF401

    await asyncio.gather(*(connect() for _ in range(CONNECTING)))
    arrivals = (len(tokens) - 1) / (time.monotonic() - began)
    await asyncio.sleep(SETTLES_S)
    busy, began = sum(process.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(SECONDS)
    share = (sum(process.cpu_times()[:2]) - busy) / (time.monotonic() - began)
    grown = process.memory_info().rss - before
    assert not any(listener.is_cut for listener in listeners), "somebody was sent away"
    return Cost(grown / len(tokens) / 1024, 100 * share, arrivals), listeners


async def _hold_ours(server: ServerProcess, owner: Device, tokens: list[str]) -> tuple[Cost, float, float]:
    """Return the cost, and the median ms of a change without and among the idle."""
    process = psutil.Process(server.process_id)
    ear = await _listen(server.port, owner.sibling().session.access_token, 0)
    quiet_ms = await _change_ms(owner, ear)
    cost, _ = await _hold(process, server.port, tokens)
    return cost, quiet_ms, await _change_ms(owner, ear)


async def _change_ms(owner: Device, ear: _Listener) -> float:
    ear.heard = asyncio.Queue()
    times = []
    for _ in range(CHANGES):
        began = time.perf_counter_ns()
        pushing = asyncio.create_task(asyncio.to_thread(owner.write))
        data = b""
        while b"event: log" not in data:
            came, data = await ear.heard.get()
        times.append((came - began) / 1e6)
        await pushing
    ear.heard = None
    return statistics.median(times)


# The servers.


@contextmanager
def _house() -> Iterator[tuple[ServerProcess, Device, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        server = ServerProcess(data, None)
        server.start()
        try:
            code = (data / "setup-code").read_text().strip()
            yield server, Device.registered(server.client, "Owner", setup_code=code), data
        finally:
            server.close()


@contextmanager
def _bare() -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    with subprocess.Popen((sys.executable, "-m", bare_events.__name__, str(port))) as process:
        try:
            wait_until(lambda: bool(psutil.Process(process.pid).net_connections("tcp")), "the start of the peer")
            yield psutil.Process(process.pid), port
        finally:
            process.kill()


if __name__ == "__main__":
    main()
