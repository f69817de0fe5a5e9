"""Waiting longer after each failure, and not together with everybody else."""

from __future__ import annotations

import random

FIRST_S = 0.25
BASE_S = 0.5
LONGEST_S = 30.0
# 0.5·2⁶ is past the longest wait already.
MOST_DOUBLINGS = 6


class Backoff:
    """The first wait is at most 250 ms; the n-th is drawn from 0 to min(30, 0.5·2ⁿ) s."""

    def __init__(self) -> None:
        self._failures = 0

    def next(self) -> float:
        """Return how long to wait now, in seconds."""
        longest = min(LONGEST_S, BASE_S * 2 ** min(self._failures, MOST_DOUBLINGS)) if self._failures else FIRST_S
        self._failures += 1
        return random.uniform(0, longest)  # noqa: S311  # jitter

    def reset(self) -> None:
        """Start over: things work."""
        self._failures = 0
