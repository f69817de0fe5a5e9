"""How much later an event comes through the relay than straight from the PC: the same answer watched both ways at once.

Each event's two arrivals are compared with each other, so that whatever the engine and the machine do hits both.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inference_node.models.models import ModelStore
from tests.benchmarks.far_house import FarHouse, far_house
from tests.benchmarks.records import Record, report
from tests.model import CACHE

ROUNDS = 6
TOKENS = 512
QUESTION = "Tell me a long story about a house with a stove."
ROUND_TRIPS_MS = (0, 60)
# Milliseconds more than direct, and round trips.
WEBSOCKET_TARGET_MS = 10.0
POLLING_TARGET = 2.2


class Late(NamedTuple):
    """Of the same events: how late they were on each way, and how much later through the relay, ms."""

    direct: list[float]
    relayed: list[float]
    added: list[float]


def main() -> None:
    """Measure, print and write the records."""
    report("relay_latency", measure())


def measure() -> list[Record]:
    """Return how late events are on each transport and link."""
    model = asyncio.run(ModelStore(CACHE).ensure_default())
    records = []
    with tempfile.TemporaryDirectory() as folder, far_house(Path(folder) / "data", model=model) as house:
        house.settle("websocket")
        # Warms everything up.
        asyncio.run(_late(house))
        for transport in ("websocket", "polling"):
            if transport == "polling":
                house.tunnel.refuse_websockets()
                house.settle(transport)
            for round_trip_ms in ROUND_TRIPS_MS:
                for link in (house.tunnel, house.straight):
                    link.delay(round_trip_ms)
                rounds = [asyncio.run(_late(house)) for _ in range(ROUNDS)]
                records += _records(rounds, transport, round_trip_ms)
    return records


async def _late(house: FarHouse) -> Late:
    answer = house.ask(QUESTION, temperature=0.0, max_tokens=TOKENS, seed=1)
    watches = [house.watch(answer, way) for way in (house.direct, house.relayed)]
    await asyncio.gather(*(watch.follow() for watch in watches))
    direct, relayed = ({arrival.number: arrival for arrival in watch.arrivals()} for watch in watches)
    # What was said before both listened comes at once.
    seen = max(min(arrival.arrived_ns for arrival in arrivals.values()) for arrivals in (direct, relayed))
    numbers = [number for number in direct.keys() & relayed.keys() if direct[number].stamped_ns > seen]
    return Late(
        [direct[number].late_ms for number in numbers],
        [relayed[number].late_ms for number in numbers],
        [relayed[number].late_ms - direct[number].late_ms for number in numbers],
    )


def _records(rounds: list[Late], transport: str, round_trip_ms: float) -> list[Record]:
    direct, relayed, added = ([value for late in rounds for value in late[part]] for part in range(3))
    workload = f"{transport}, round trip {round_trip_ms} ms, {len(added)} events of a real engine on the same machine"
    count = len(rounds)
    late = [float(np.percentile(values, 95)) for values in (relayed, direct)]
    p95 = float(np.percentile(added, 95))
    records = [
        Record("relay_late_p95", workload, late[0], "ms", count, "direct", late[1], late[0] / late[1]),
        Record("relay_added_p50", workload, statistics.median(added), "ms", count),
    ]
    target = WEBSOCKET_TARGET_MS if transport == "websocket" else POLLING_TARGET * round_trip_ms
    if target:
        return [*records, Record("relay_added_p95", workload, p95, "ms", count, "the target", target, p95 / target)]
    return [*records, Record("relay_added_p95", workload, p95, "ms", count)]


if __name__ == "__main__":
    main()
