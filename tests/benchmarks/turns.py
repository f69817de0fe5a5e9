"""Measuring two things in turns, so that a disturbance hits both, within a time that is set beforehand."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from inference_node.quiet import QUIET_SHARE, others_share
from tests.benchmarks.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
ROUNDS = 5
FEWEST_ROUNDS = 2


class Figure(NamedTuple):
    """What is measured, in which unit, and beside what."""

    name: str
    workload: str
    unit: str
    peer: str


class Turns:
    """Collects records. A machine that others use meanwhile is named busy in each record that it spoilt."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def measure(
        self,
        ours: Callable[[], T],
        peers: Callable[[], T],
        figures: Sequence[tuple[Figure, Callable[[T], float]]],
        within_s: float,
    ) -> None:
        """Run both in turns, at the most `ROUNDS` times after a round that warms up, and note the medians."""
        deadline = time.monotonic() + within_s
        pairs: list[tuple[T, T]] = []
        share = others_share()
        for number in range(ROUNDS + 1):
            pair = (ours(), peers())
            if number:
                pairs.append(pair)
            if number >= FEWEST_ROUNDS and time.monotonic() > deadline:
                break
        share = max(share, others_share())
        for figure, value_of in figures:
            value, peer_value = (statistics.median(value_of(pair[side]) for pair in pairs) for side in (0, 1))
            self.note(figure, value, peer_value, len(pairs), share)

    def note(self, figure: Figure, value: float, peer_value: float, runs: int, share: float) -> None:
        """Add a record and say it: whoever waits for the table sees that something happens."""
        name, workload, unit, peer = figure
        if share > QUIET_SHARE:
            workload += f" (busy: others took {share:.1f} cores)"
        ratio = value / peer_value
        self.records.append(Record(name, workload, value, unit, runs, peer, peer_value, ratio))
        sys.stderr.write(f"{name}, {workload}: {value:.4g} {unit}, {peer}: {peer_value:.4g}, ratio {ratio:.2f}\n")
