"""How long an answer that streams through the relay stands still when its way breaks, seen and unseen.

Between node and server the tunnel is cut (a reset, as when a router forgets its connections) and frozen (nothing comes
and nobody says so, as when an address is gone). The phone's own side is tried in `tests/network/test_moving.py`.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.far_house import FarHouse, far_house
from tests.benchmarks.records import Record, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.phone import Arrival, Watch

ROUNDS = 4
ROUND_TRIP_MS = 60
WORDS_A_SECOND = 20.0
# A transport that lives for less than ten seconds twice is not tried again at once.
AFTER_CUT_S = 11.0
AFTER_FREEZE_S = 16.0
TARGETS_S = {"websocket, cut": 2.0, "polling, cut": 4.0, "websocket, frozen": 10.0, "polling, frozen": 10.0}


def main() -> None:
    """Measure, print and write the records."""
    report("reconnecting", asyncio.run(tunnels()))


async def tunnels() -> list[Record]:
    """Break the tunnels of two houses at the same time, one with WebSockets and one where they are refused."""
    found = await asyncio.gather(*(asyncio.to_thread(_measure, transport) for transport in ("websocket", "polling")))
    return [record for records in found for record in records]


def _measure(transport: str) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder, far_house(Path(folder) / "data", pace=WORDS_A_SECOND) as house:
        if transport == "polling":
            house.tunnel.refuse_websockets()
        house.settle(transport)
        house.tunnel.delay(ROUND_TRIP_MS)
        stood = asyncio.run(_break(house))
    return [record for how, seconds in stood.items() for record in _records(f"{transport}, {how}", seconds)]


async def _break(house: FarHouse) -> dict[str, list[float]]:
    """Return for how many seconds nothing new came after each break."""
    answer = house.ask("Go on until you are stopped.")
    watch = house.watch(answer, house.relayed)
    following = asyncio.create_task(watch.follow())
    await watch.began.wait()
    moments: dict[str, list[int]] = {"cut": [], "frozen": []}
    ways: list[tuple[str, Callable[[], int], float]] = [
        ("cut", house.tunnel.cut, AFTER_CUT_S),
        ("frozen", house.tunnel.freeze, AFTER_FREEZE_S),
    ]
    for _ in range(ROUNDS):
        for how, break_it, pause_s in ways:
            await asyncio.sleep(pause_s)
            moments[how].append(break_it())
    await asyncio.sleep(AFTER_FREEZE_S)
    house.stop(answer)
    await following
    arrivals = watch.arrivals()
    _check(watch, arrivals)
    return {how: [_stood_s(arrivals, moment) for moment in found] for how, found in moments.items()}


def _check(watch: Watch, arrivals: list[Arrival]) -> None:
    """Nothing lost, nothing twice, on one and the same call."""
    numbers = [arrival.number for arrival in arrivals]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), watch


def _stood_s(arrivals: list[Arrival], moment_ns: int) -> float:
    """Return when the first word came that was said after the break, in seconds since then."""
    later = (arrival.arrived_ns for arrival in arrivals if arrival.stamped_ns > moment_ns)
    return (next(later) - moment_ns) / 1e9


def _records(how: str, seconds: list[float]) -> list[Record]:
    workload = f"tunnel by {how}, round trip {ROUND_TRIP_MS} ms, {WORDS_A_SECOND:g} words a second"
    worst, target = max(seconds), TARGETS_S[how]
    return [
        Record("resumed_worst", workload, worst, "s", len(seconds), "the target", target, worst / target),
        Record("resumed_median", workload, statistics.median(seconds), "s", len(seconds)),
    ]


if __name__ == "__main__":
    main()
