"""An event loop whose time goes by as fast as there is nothing to do, and clocks that are wrong on purpose."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_T = TypeVar("_T")

EPOCH_MS = 1_800_000_000_000

# How far the clock of whoever runs now is off, ms. Tasks inherit it from where they are made.
skew_ms: contextvars.ContextVar[int] = contextvars.ContextVar("skew_ms", default=0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it. Deterministic as long as nobody uses threads or sockets."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self.jumped_ms = 0

    def time(self) -> float:
        return self._now_s

    def now_ms(self) -> int:
        """Return true time, in ms since 1970."""
        return EPOCH_MS + self.jumped_ms + int(self._now_s * 1000)

    def skewed_ms(self) -> int:
        """Return what the clock of whoever runs now says."""
        return max(0, self.now_ms() + skew_ms.get())

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]  # the heap of timers
            self._now_s = max(self._now_s, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]  # asyncio's own, and the only place where time passes


async def at_once(function: Callable[..., _T], *arguments: object) -> _T:
    """Stand for asyncio.to_thread: threads would make two runs of one seed differ."""
    return function(*arguments)


def run(main: Coroutine[Any, Any, _T], loop: VirtualLoop) -> _T:
    """Run until `main` ends."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
