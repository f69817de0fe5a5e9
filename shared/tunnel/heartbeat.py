"""Whether a transport lives: any byte is life, silence is asked about, then believed (rule N12)."""

from __future__ import annotations

from enum import Enum, auto

from shared.tunnel.limits import (
    DEAD_ACTIVE_S,
    DEAD_IDLE_S,
    PING_ACTIVE_S,
    PING_IDLE_S,
    SUSPECT_S,
)


class Health(Enum):
    """What the silence so far means."""

    ALIVE = auto()
    # The last seconds before it is dead.
    SUSPECT = auto()
    DEAD = auto()


class Heartbeat:
    """One transport's. Times are in seconds, of any clock that does not go back.

    Silence is counted from the last byte. After some of it a PING is due, and a second one when the transport becomes
    suspect. `ping_idle_s` is what the server asked for in WELCOME, if it is shorter.
    """

    def __init__(self, now: float, ping_idle_s: float = PING_IDLE_S) -> None:
        self._ping_idle_s = min(ping_idle_s, PING_IDLE_S)
        self._heard = now
        self._pinged: float | None = None
        self._woken: float | None = None
        self._active_since: float | None = None

    def heard(self, now: float) -> None:
        """Any byte came."""
        self._heard = now
        self._pinged = self._woken = None

    def set_active(self, is_active: bool, now: float) -> None:
        """Say whether streams are open. An old silence is asked about at once, and given time to be answered."""
        if is_active != (self._active_since is not None):
            self._active_since = now if is_active else None

    def woke(self, now: float) -> None:
        """The machine slept or changed its address: ask at once, and believe three seconds of silence."""
        self._woken = now
        self._pinged = None

    def health(self, now: float) -> Health:
        """Return what the silence means now."""
        if now >= self._dead_at:
            return Health.DEAD
        return Health.SUSPECT if now >= self._suspect_at else Health.ALIVE

    def take_ping(self, now: float) -> bool:
        """Return whether a PING is to be sent now, once for each time that it is due."""
        due = self._ping_due_at
        if due is None or now < due:
            return False
        self._pinged = now
        return True

    def next_at(self, now: float) -> float:
        """Return when to look again; `now` when a PING is due or the transport is dead."""
        due = self._ping_due_at
        if self._dead_at <= now or (due is not None and due <= now):
            return now
        times = [self._dead_at, self._suspect_at, *([] if due is None else [due])]
        return min(time for time in times if time > now)

    @property
    def _dead_at(self) -> float:
        if self._woken is not None:
            return self._woken + SUSPECT_S
        if self._active_since is None:
            return self._heard + DEAD_IDLE_S
        return min(max(self._heard, self._active_since) + DEAD_ACTIVE_S, self._heard + DEAD_IDLE_S)

    @property
    def _suspect_at(self) -> float:
        return self._dead_at - SUSPECT_S

    @property
    def _ping_due_at(self) -> float | None:
        if self._pinged is not None:
            return self._suspect_at if self._pinged < self._suspect_at else None
        wait = self._ping_idle_s if self._active_since is None else min(PING_ACTIVE_S, self._ping_idle_s)
        return min(self._heard + wait, self._suspect_at)
