"""Slows down guessing: after some failures each next try must wait longer. Nobody is ever locked out.

In memory and per process: a restart forgives, and the cost of a try (Argon2id) bounds the rest.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from shared.errors import Code, DomovoiError
from sync_server import clock

if TYPE_CHECKING:
    from collections.abc import Hashable

FREE_TRIES = 5
FIRST_WAIT_MS = 1_000
LONGEST_WAIT_MS = 60_000
FORGOTTEN_AFTER_MS = 15 * 60_000
MAX_REMEMBERED = 10_000


class TooManyTries(DomovoiError):
    """The next try comes too soon. `retry_after_s` is for the header of that name."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(Code.TOO_MANY_TRIES, f"Wait {retry_after_s} s, then try again.")
        self.retry_after_s = retry_after_s


class Throttle:
    """Counts failures by key: what is tried, and from which address."""

    def __init__(self) -> None:
        self._failures: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def check(self, key: Hashable) -> None:
        """Raise TooManyTries while the key has to wait."""
        count, last_ms = self._failures.get(key, (0, 0))
        # A wall clock that was set back must not make anybody wait longer.
        wait_ms = min(_wait_ms(count), last_ms + _wait_ms(count) - clock.now_ms())
        if wait_ms > 0:
            raise TooManyTries(-(-wait_ms // 1000))

    def failed(self, key: Hashable) -> None:
        """Count a failure."""
        now_ms = clock.now_ms()
        count, last_ms = self._failures.pop(key, (0, 0))
        if now_ms - last_ms > FORGOTTEN_AFTER_MS:
            count = 0
        self._failures[key] = (count + 1, now_ms)
        if len(self._failures) > MAX_REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, key: Hashable) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)


def _wait_ms(failures: int) -> int:
    if failures < FREE_TRIES:
        return 0
    return int(min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2.0 ** min(failures - FREE_TRIES, 30)))
