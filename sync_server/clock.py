"""The server's wall clock. Called as `clock.now_ms()`, so that tests can travel in time at one place."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return the milliseconds since 1970."""
    return time.time_ns() // 1_000_000
