"""Pauses between tries: random, so that many nodes do not come back at once, and growing."""

from __future__ import annotations

import random

FIRST_S = 0.25
STEP_S = 0.5
LONGEST_S = 30.0


class Backoff:
    """uniform(0, min(30 s, 0.5 s · 2ⁿ)), the first within 250 ms."""

    def __init__(self) -> None:
        self._tries = 0

    def next_s(self) -> float:
        """Return how long to wait before the next try, in seconds."""
        longest = FIRST_S if self._tries == 0 else min(LONGEST_S, STEP_S * 2**self._tries)
        self._tries = min(self._tries + 1, 10)
        return random.uniform(0, longest)  # noqa: S311  # no secret

    def reset(self) -> None:
        """Begin anew after a success."""
        self._tries = 0
