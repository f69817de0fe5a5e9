"""Whose turn it is at the engine: one at a time, accounts in rotation, so that no one waits behind a long queue."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_WAITING = 64
MOST_WAITING_OF_ONE = 16


class Turn:
    """A place in the queue."""

    def __init__(self, owner: bytes) -> None:
        self.owner = owner
        self._outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def is_granted(self) -> bool:
        """Wait for the turn: true when it has come, false when the place was given up first."""
        return await asyncio.shield(self._outcome)

    def settle(self, is_granted: bool) -> None:
        """Say what came of the wait; the first word counts."""
        if not self._outcome.done():
            self._outcome.set_result(is_granted)


class Turns:
    """The queue. `on_change` is called when its length changes."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._waiting: OrderedDict[bytes, deque[Turn]] = OrderedDict()
        self._current: Turn | None = None
        self._on_change = on_change

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._waiting.values()) + (self._current is not None)

    @property
    def has_room(self) -> bool:
        """Whether another place can be had at all."""
        return len(self) < MOST_WAITING

    def is_current(self, turn: Turn) -> bool:
        """Say whether the engine is this turn's now."""
        return turn is self._current

    def ask(self, owner: bytes) -> Turn:
        """Take a place at the end of the owner's queue. Raises DomovoiError engine_busy when it is full."""
        queue = self._waiting.get(owner, ())
        if not self.has_room or len(queue) >= MOST_WAITING_OF_ONE:
            raise DomovoiError(Code.ENGINE_BUSY)
        turn = Turn(owner)
        self._waiting.setdefault(owner, deque()).append(turn)
        self._advance()
        self._on_change()
        return turn

    def leave(self, turn: Turn) -> None:
        """Give the turn, or the place, to the next. Doing it twice is allowed."""
        turn.settle(False)
        if turn is self._current:
            self._current = None
        elif turn in (queue := self._waiting.get(turn.owner, deque())):
            queue.remove(turn)
            if not queue:
                del self._waiting[turn.owner]
        self._advance()
        self._on_change()

    def _advance(self) -> None:
        if self._current is not None or not self._waiting:
            return
        owner, queue = self._waiting.popitem(last=False)
        self._current = queue.popleft()
        if queue:
            # To the back: everybody else first.
            self._waiting[owner] = queue
        self._current.settle(True)
