"""Virtual time: what is planned happens in order, and time jumps from one to the next."""

from __future__ import annotations

import heapq
import itertools
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Virtual:
    """A world's time, in seconds, and its only source of chance."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 1000.0
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Plan an action."""
        heapq.heappush(self._planned, (self.now + delay, next(self._order), action))

    def run(self, until: float) -> None:
        """Let everything happen that is planned until then."""
        while self._planned and self._planned[0][0] <= until:
            self.now, _, action = heapq.heappop(self._planned)
            action()
        self.now = until
