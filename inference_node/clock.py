"""The time, in one place, so that tests can take another."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def now_s() -> float:
    """Return seconds since 1970."""
    return time.time()
