"""The node's time: the machine's, and how far the server's differs from it (rule C4)."""

from __future__ import annotations

import time


class Clock:
    """Tells the time in milliseconds since 1970, as the server would."""

    def __init__(self) -> None:
        self._offset_ms = 0

    def now_ms(self) -> int:
        """Return the server's time as far as it is known."""
        return time.time_ns() // 1_000_000 + self._offset_ms

    def now_s(self) -> float:
        """Return the same in seconds."""
        return self.now_ms() / 1000

    def learn(self, server_ms: int) -> None:
        """Take the time that the server has just told."""
        self._offset_ms = server_ms - time.time_ns() // 1_000_000
