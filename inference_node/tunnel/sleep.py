"""Whether the machine slept: the clock on the wall went on, and we did not."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_EVERY_S = 2.0
# A machine that is merely busy is late by less; a clock that was set only costs one question to the server.
LATE_BY_S = 5.0


class SleepWatch:
    """Looks at a clock of the wall that it is given, in seconds."""

    def __init__(self, now: float) -> None:
        self._looked = now

    def has_slept(self, now: float) -> bool:
        """Return whether there was a sleep since the last look, which is to be every LOOK_EVERY_S."""
        late_by = now - self._looked - LOOK_EVERY_S
        self._looked = now
        return late_by > LATE_BY_S


async def watch_sleep(on_wake: Callable[[], None]) -> None:
    """Call `on_wake` each time the machine wakes up, for ever."""
    watch = SleepWatch(time.time())
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if watch.has_slept(time.time()):
            on_wake()
