"""Which transport a node tries, uses and gives up (rule N14). Pure: it is told what happened and says what to do.

INIT → WS_TRY → WS_UP ⇄ SUSPECT, or LP_UP → SWITCH → WS_UP; what fails goes through BACKOFF, and AUTH_STOP waits for
other credentials. Each try takes two epochs, the WebSocket the newer: if both succeed, the WebSocket wins.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING

from msgspec import Struct

from shared.tunnel.limits import (
    BACKOFF_S,
    FIRST_BACKOFF_S,
    MAX_BACKOFF_S,
    MAX_PROBE_AFTER_S,
    POLLING_AFTER_S,
    PROBE_AFTER_S,
    PROBE_SPREAD,
    SHORT_LIFE_S,
    SHORT_LIVES,
    STABLE_AFTER_S,
    SWITCH_S,
    WELCOME_S,
)

if TYPE_CHECKING:
    from random import Random

# 0.5·2⁶ is past the longest wait already.
MOST_DOUBLINGS = 6


class State(Enum):
    """Where the node is."""

    INIT = auto()
    WS_TRY = auto()
    WS_UP = auto()
    SUSPECT = auto()
    LP_UP = auto()
    SWITCH = auto()
    BACKOFF = auto()
    AUTH_STOP = auto()


class Kind(Enum):
    """The two transports."""

    WEBSOCKET = auto()
    POLLING = auto()


class Failure(Enum):
    """How a transport ended."""

    # No name, no connection.
    UNREACHABLE = auto()
    # Something answered, but not with 101, nor with frames.
    REFUSED = auto()
    # 401 or 403 with a code of ours.
    DENIED = auto()
    # Closed before WELCOME or after.
    CLOSED = auto()
    # Silent, stuck or garbled.
    DEAD = auto()


class Connect(Struct, frozen=True):
    """Begin a transport; its HELLO carries the epoch."""

    kind: Kind
    epoch: int


class Carry(Struct, frozen=True):
    """The transport carries the session from now on."""

    epoch: int


class Close(Struct, frozen=True):
    """End a transport, or the attempt at one. What comes on it is of no interest any more."""

    epoch: int


class Ask(Struct, frozen=True):
    """Find out at once whether the transport lives: `Session.woke`."""


Action = Connect | Carry | Close | Ask


class _Attempt(Struct):
    """A transport that was begun. `up_since` is when its WELCOME came."""

    epoch: int
    begun: float
    up_since: float | None = None


class Machine:
    """Times are in seconds, of a clock that does not go back. What comes of a transport that was closed is ignored."""

    def __init__(self, random: Random) -> None:
        self.state = State.INIT
        self._random = random
        self._epoch = 0
        self._websocket: _Attempt | None = None
        self._polling: _Attempt | None = None
        # Kept for the polling of this try, when it is begun.
        self._polling_epoch = 0
        self._polling_at = math.inf
        self._is_blocked = False
        self._has_websocket_failed = False
        self._short_lives = 0
        self._failures = 0
        self._probe_after_s = PROBE_AFTER_S
        # When to go on, in BACKOFF, LP_UP (the next probe) and SWITCH.
        self._go_on_at = math.inf

    # What happens.

    def start(self, now: float) -> list[Action]:
        """Begin, from INIT; anywhere else this does nothing."""
        return self._try(now) if self.state is State.INIT else []

    def welcomed(self, epoch: int, now: float) -> list[Action]:
        """WELCOME came on a transport."""
        if (attempt := self._attempt(epoch)) is None or attempt.up_since is not None:
            return []
        attempt.up_since = now
        if attempt is self._websocket:
            is_switch = self.state is State.LP_UP
            self.state = State.SWITCH if is_switch else State.WS_UP
            self._polling_at = math.inf
            self._go_on_at = now + SWITCH_S if is_switch else math.inf
            return [Carry(epoch), *self._end_polling(keep=is_switch)]
        self._is_blocked = self._is_blocked or self._has_websocket_failed
        self.state = State.LP_UP
        self._polling_at = math.inf
        self._plan_probe(now)
        return [Carry(epoch)]

    def failed(self, epoch: int, failure: Failure, now: float) -> list[Action]:
        """A transport, or the attempt at one, ended without our asking, or is dead."""
        if (attempt := self._attempt(epoch)) is None:
            return []
        if failure is Failure.DENIED:
            actions = self._end_all(but=epoch)
            self.state = State.AUTH_STOP
            return actions
        if attempt is self._websocket:
            self._websocket = None
            return self._websocket_failed(attempt, failure, now)
        self._polling = None
        return self._polling_failed(attempt, now)

    def suspected(self) -> None:
        """The session's health is SUSPECT."""
        if self.state is State.WS_UP:
            self.state = State.SUSPECT

    def lives(self) -> None:
        """The session's health is ALIVE."""
        if self.state is State.SUSPECT:
            self.state = State.WS_UP

    def network_changed(self, now: float) -> list[Action]:
        """The machine woke up, or has another address: what was known of the network is known no more."""
        self._is_blocked = False
        self._failures = self._short_lives = 0
        self._probe_after_s = PROBE_AFTER_S
        match self.state:
            case State.WS_UP | State.SUSPECT | State.SWITCH:
                self.suspected()
                return [Ask()]
            case State.LP_UP:
                return [Ask(), *self._probe(now)]
            case State.WS_TRY | State.BACKOFF:
                return [*self._end_all(), *self._try(now)]
            case _:
                return []

    def credentials_changed(self, now: float) -> list[Action]:
        """The node was paired again: go on from AUTH_STOP."""
        return self._try(now) if self.state is State.AUTH_STOP else []

    def stop(self) -> list[Action]:
        """End everything; `start` begins again."""
        actions = self._end_all()
        self.state = State.INIT
        return actions

    def tick(self, now: float) -> list[Action]:
        """Do what time asks for."""
        actions: list[Action] = []
        if now >= self._polling_at:
            actions += self._begin_polling(now)
        for attempt in (self._websocket, self._polling):
            if attempt is not None and attempt.up_since is None and now >= attempt.begun + WELCOME_S:
                actions += [Close(attempt.epoch), *self.failed(attempt.epoch, Failure.CLOSED, now)]
        if now >= self._go_on_at:
            actions += self._go_on(now)
        return actions

    @property
    def next_tick(self) -> float:
        """When to call `tick` at the latest; infinity when nothing is waited for."""
        attempts = [attempt for attempt in (self._websocket, self._polling) if attempt and attempt.up_since is None]
        return min([self._polling_at, self._go_on_at, *(attempt.begun + WELCOME_S for attempt in attempts)])

    # Steps.

    def _go_on(self, now: float) -> list[Action]:
        self._go_on_at = math.inf
        match self.state:
            case State.BACKOFF:
                return self._try(now)
            case State.LP_UP:
                return self._probe(now)
            case _:
                self.state = State.WS_UP
                return self._end_polling()

    def _try(self, now: float) -> list[Action]:
        self.state = State.WS_TRY
        self._go_on_at = math.inf
        self._has_websocket_failed = False
        self._polling_epoch = self._epoch + 1
        self._epoch += 2
        if self._is_blocked:
            return self._begin_polling(now)
        self._polling_at = now + POLLING_AFTER_S
        self._websocket = _Attempt(self._epoch, now)
        return [Connect(Kind.WEBSOCKET, self._epoch)]

    def _begin_polling(self, now: float) -> list[Action]:
        self._polling_at = math.inf
        self._polling = _Attempt(self._polling_epoch, now)
        return [Connect(Kind.POLLING, self._polling_epoch)]

    def _probe(self, now: float) -> list[Action]:
        """Try a WebSocket beside the polling that works, unless one is being tried."""
        self._go_on_at = math.inf
        if self._websocket is not None:
            return []
        self._epoch += 1
        self._websocket = _Attempt(self._epoch, now)
        return [Connect(Kind.WEBSOCKET, self._epoch)]

    def _plan_probe(self, now: float) -> None:
        if self._websocket is None:
            self._go_on_at = now + self._probe_after_s * self._random.uniform(1 - PROBE_SPREAD, 1 + PROBE_SPREAD)

    def _websocket_failed(self, attempt: _Attempt, failure: Failure, now: float) -> list[Action]:
        if self.state is State.LP_UP:
            self._is_blocked = True
            self._probe_after_s = min(2 * self._probe_after_s, MAX_PROBE_AFTER_S)
            self._plan_probe(now)
            return []
        if attempt.up_since is not None:
            return self._websocket_dropped(attempt.up_since, failure, now)
        if failure is Failure.UNREACHABLE:
            return self._back_off(now)
        self._has_websocket_failed = True
        if failure is Failure.REFUSED:
            if self._polling is not None:
                return []
            # Begun and failed before the WebSocket did: then neither works.
            return self._back_off(now) if self._polling_at == math.inf else self._begin_polling(now)
        # The server may have taken its HELLO, and would turn an older polling away.
        actions = self._end_polling()
        self._epoch += 1
        self._polling_epoch = self._epoch
        return [*actions, *self._begin_polling(now)]

    def _websocket_dropped(self, up_since: float, failure: Failure, now: float) -> list[Action]:
        is_short = now - up_since < SHORT_LIFE_S
        self._short_lives = self._short_lives + 1 if is_short else 0
        if is_short:
            self._probe_after_s = min(2 * self._probe_after_s, MAX_PROBE_AFTER_S)
        else:
            self._probe_after_s = PROBE_AFTER_S
        if self._short_lives >= SHORT_LIVES:
            self._short_lives = 0
            self._is_blocked = True
        self._settle_failures(up_since, now)
        if failure is Failure.DEAD and self.state is State.SUSPECT and not is_short:
            return [*self._end_all(), *self._try(now)]
        return self._back_off(now)

    def _polling_failed(self, attempt: _Attempt, now: float) -> list[Action]:
        if self.state is State.SWITCH:
            self.state = State.WS_UP
            self._go_on_at = math.inf
            return []
        if attempt.up_since is None:
            # Where polling does not work either, nothing is known about WebSockets.
            self._is_blocked = False
            return [] if self._websocket is not None else self._back_off(now)
        self._settle_failures(attempt.up_since, now)
        return self._back_off(now)

    def _settle_failures(self, up_since: float, now: float) -> None:
        if now - up_since >= STABLE_AFTER_S:
            self._failures = 0

    def _back_off(self, now: float) -> list[Action]:
        """Wait a random time, longer after each failure. The first time it is short."""
        actions = self._end_all()
        doubled = BACKOFF_S * 2 ** min(self._failures, MOST_DOUBLINGS)
        longest = min(MAX_BACKOFF_S, doubled) if self._failures else FIRST_BACKOFF_S
        self._failures += 1
        self.state = State.BACKOFF
        self._go_on_at = now + self._random.uniform(0, longest)
        return actions

    def _attempt(self, epoch: int) -> _Attempt | None:
        return next((a for a in (self._websocket, self._polling) if a is not None and a.epoch == epoch), None)

    def _end_polling(self, *, keep: bool = False) -> list[Action]:
        """Close the polling. With `keep`, its own end is still waited for."""
        if (polling := self._polling) is None:
            return []
        if not keep:
            self._polling = None
        return [Close(polling.epoch)]

    def _end_all(self, but: int = 0) -> list[Action]:
        """Close every transport, except one that has ended by itself."""
        attempts = (self._websocket, self._polling)
        self._websocket = self._polling = None
        self._polling_at = self._go_on_at = math.inf
        return [Close(attempt.epoch) for attempt in attempts if attempt is not None and attempt.epoch != but]
