"""No sealed call is answered twice, without asking what time it is anywhere (rule H4)."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from shared.errors import Code, DomovoiError
from shared.limits import CALL_EPOCH_S, MAX_CALLS_AN_EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable

# Epochs begin anywhere in 48 bits: a node that restarts has forgotten what it opened, and takes none of those again.
_FIRST_EPOCH_BITS = 48


class CallEpochs:
    """What was opened in this epoch and the one before it. `monotonic_s` counts seconds."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._epoch = secrets.randbits(_FIRST_EPOCH_BITS)
        self._began_s = monotonic_s()
        self._now: set[bytes] = set()
        self._before: set[bytes] = set()

    @property
    def current(self) -> int:
        """The epoch that new calls are sealed in."""
        passed = int((self._monotonic_s() - self._began_s) // CALL_EPOCH_S)
        if passed > 0:
            self._begin(passed)
        return self._epoch

    def admit(self, epoch: int, ephemeral_key: bytes) -> None:
        """Let a call in, once.

        Raises DomovoiError `cannot_open` for one that was here before, `stale_epoch` for one of another epoch.
        """
        current = self.current
        if ephemeral_key in self._now or ephemeral_key in self._before:
            raise DomovoiError(Code.CANNOT_OPEN)
        if epoch not in {current, current - 1}:
            raise DomovoiError(Code.STALE_EPOCH, epoch=current)
        self._now.add(ephemeral_key)
        if len(self._now) >= MAX_CALLS_AN_EPOCH:
            self._begin(1)

    def _begin(self, passed: int) -> None:
        self._before = self._now if passed == 1 else set()
        self._now = set()
        self._epoch += passed
        self._began_s = self._monotonic_s() if passed == 1 else self._began_s + passed * CALL_EPOCH_S
