"""What live relayed streams cost the server in processor and memory, beside a bare forwarder on the same libraries.

One node's answers, sealed, at the pace at which a small model writes; phones that only read. The peer takes the same
bytes from a WebSocket and hands them to the same phones, without accounts, sealing, credit, resuming or anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
from websockets.asyncio.client import connect

from tests.benchmarks import bare_relay
from tests.benchmarks.far_house import far_house
from tests.benchmarks.raw_http import request_bytes
from tests.benchmarks.records import Record, report
from tests.end_to_end.household import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from websockets.asyncio.client import ClientConnection

    from tests.benchmarks.far_house import FarHouse

STREAMS = (1, 20, 200)
# At once; several phones watch each of them where there are more streams.
ANSWERS = 20
WORDS_A_SECOND = 20.0
SETTLES_S = 2.0
SECONDS = 8.0
# A sealed event of one word, as it travels.
EVENT_BYTES = 400


class Cost(NamedTuple):
    """Of one server while so many streams are open: share of a core, resident bytes more than with none, events."""

    cores: float
    bytes_more: int
    events: int

    @property
    def event_us(self) -> float:
        """Processor time for an event, in µs."""
        return 1e6 * self.cores * SECONDS / self.events


def main() -> None:
    """Measure, print and write the records."""
    with tempfile.TemporaryDirectory() as folder, far_house(Path(folder) / "data", pace=WORDS_A_SECOND) as house:
        house.settle("websocket")
        ours = [asyncio.run(_relayed(house, count)) for count in (*STREAMS[:1], *STREAMS)][1:]
    with _bare() as (process, port):
        peers = [asyncio.run(_forwarded(process, port, count)) for count in (*STREAMS[:1], *STREAMS)][1:]
    report("relay_load", [record for triple in zip(STREAMS, ours, peers, strict=True) for record in _records(*triple)])


def _records(count: int, ours: Cost, peer: Cost) -> list[Record]:
    workload = f"{count} relayed streams of {WORDS_A_SECOND:g} events a second"
    name = "a bare forwarder"
    figures = [
        ("relay_processor", 100 * ours.cores, 100 * peer.cores, "% of a core"),
        ("relay_processor_per_event", ours.event_us, peer.event_us, "µs"),
        ("relay_memory_per_stream", ours.bytes_more / count / 1024, peer.bytes_more / count / 1024, "KiB more"),
    ]
    return [
        Record(figure, workload, value, unit, 1, name, theirs, value / theirs if theirs > 0 else None)
        for figure, value, theirs, unit in figures
    ]


async def _relayed(house: FarHouse, count: int) -> Cost:
    answers = [house.ask("Go on until you are stopped.") for _ in range(min(count, ANSWERS))]
    before = house.server.memory_info().rss
    watches = [house.watch(answers[number % len(answers)], house.relayed) for number in range(count)]
    following = [asyncio.create_task(watch.follow()) for watch in watches]
    for watch in watches:
        await watch.began.wait()
    cost = await _cost(house.server, before, lambda: sum(watch.count for watch in watches))
    # Phones that do not read for half a minute are cut off.
    for answer in answers:
        await asyncio.to_thread(house.stop, answer)
    await asyncio.gather(*following)
    for watch in watches:
        numbers = [arrival.number for arrival in watch.arrivals()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "nothing lost, nothing twice"
    return cost


async def _cost(process: psutil.Process, before: int, events: Callable[[], int]) -> Cost:
    await asyncio.sleep(SETTLES_S)
    counted, busy, began = events(), sum(process.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(SECONDS)
    share = (sum(process.cpu_times()[:2]) - busy) / (time.monotonic() - began)
    return Cost(share, process.memory_info().rss - before, events() - counted)


# The peer.


@contextmanager
def _bare() -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    with subprocess.Popen((sys.executable, "-m", bare_relay.__name__, str(port))) as process:
        try:
            wait_until(lambda: _answers(port), "the start of the bare forwarder")
            yield psutil.Process(process.pid), port
        finally:
            process.kill()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


async def _forwarded(process: psutil.Process, port: int, count: int) -> Cost:
    before = process.memory_info().rss
    counts = [0] * count
    async with connect(f"ws://127.0.0.1:{port}/tunnel", proxy=None, compression=None) as websocket:
        readers = [asyncio.create_task(_read(port, number, counts)) for number in range(count)]
        answers = min(count, ANSWERS)
        writers = [
            asyncio.create_task(_write(websocket, range(first, count, answers), first / answers))
            for first in range(answers)
        ]
        try:
            return await _cost(process, before, lambda: sum(counts))
        finally:
            for task in (*readers, *writers):
                task.cancel()
            await asyncio.gather(*readers, *writers, return_exceptions=True)


async def _read(port: int, number: int, counts: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes("GET", f"/streams/{number}", {}, b""))
    while True:
        await reader.readuntil(b"\n\n")
        counts[number] += 1


async def _write(websocket: ClientConnection, streams: Iterable[int], phase: float) -> None:
    event = b"data: " + b"x" * EVENT_BYTES + b"\n\n"
    due = time.monotonic() + phase / WORDS_A_SECOND
    while True:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due += 1 / WORDS_A_SECOND
        for number in streams:
            await websocket.send(number.to_bytes(bare_relay.NUMBER_BYTES) + event)


if __name__ == "__main__":
    main()
