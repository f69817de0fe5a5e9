"""Measuring two things in turns, so that a disturbance hits both, within a time that is set beforehand."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from inference_node.loading.quiet import QUIET_SHARE, others_share
from tests.benchmarks.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
ROUNDS = 5


class Figure(NamedTuple):
    """What is measured, in which unit, and beside what."""

    name: str
    workload: str
    unit: str
    peer: str


class Turns:
    """Collects records. A machine that others use meanwhile is named busy in each record that it spoilt.

    On a machine so busy that `within_s` seconds are over, what is left is left out, and said to be.
    """

    def __init__(self, within_s: float) -> None:
        self.records: list[Record] = []
        self._deadline = time.monotonic() + within_s

    def has_time(self, name: str) -> bool:
        """Return whether there is time for another figure, or say that it is left out."""
        if time.monotonic() < self._deadline:
            return True
        sys.stderr.write(f"{name} is left out: no time is left on this busy machine.\n")
        return False

    def measure(
        self,
        ours: Callable[[], T],
        peers: Callable[[], T],
        figures: Sequence[tuple[Figure, Callable[[T], float]]],
        within_s: float,
    ) -> None:
        """Run both in turns and note the medians.

        At the most `ROUNDS` times after a round that warms up; where that alone took longer than `within_s`, it counts.
        """
        if not self.has_time(figures[0][0].name):
            return
        deadline = min(time.monotonic() + within_s, self._deadline)
        share = others_share()
        pairs = [(ours(), peers())]
        warm: list[tuple[T, T]] = []
        while len(warm) < ROUNDS and time.monotonic() < deadline:
            warm.append((ours(), peers()))
        share = max(share, others_share())
        pairs = warm or pairs
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
