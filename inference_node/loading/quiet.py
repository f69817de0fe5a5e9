"""Whether anything else computes here just now: measurements on a busy machine say more about the others.

The same binaries gave 4 to 167 tokens a second on a busy machine.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

# Share of one core that all other processes may take together.
QUIET_SHARE = 0.04
LOOK_S = 0.5


def others_share(look_s: float = LOOK_S) -> float:
    """Return how many cores all processes but this one and its children use, watched for `look_s` seconds."""
    before_s, ours_s = _busy_s(), _our_s()
    started = time.perf_counter()
    time.sleep(look_s)
    spent = time.perf_counter() - started
    share = (_busy_s() - before_s - (_our_s() - ours_s)) / spent
    # The system counts in ticks, and a short look may count one too many.
    return min(max(0.0, share), float(psutil.cpu_count() or 1))


async def wait_until_quiet(within_s: float, look: Callable[[], float] = others_share) -> float:
    """Wait until the machine is quiet or the time is over; return the share that others used at the end."""
    deadline = time.monotonic() + within_s
    while (share := await asyncio.to_thread(look)) > QUIET_SHARE and time.monotonic() < deadline:
        pass
    return share


def _busy_s() -> float:
    times = psutil.cpu_times()
    # "guest" is in "user" already; waiting for a disk is not computing.
    idle = times.idle + getattr(times, "iowait", 0.0)
    counted = {name: value for name, value in times._asdict().items() if not name.startswith("guest")}
    return float(sum(counted.values()) - idle)


def _our_s() -> float:
    me = psutil.Process()
    total = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
