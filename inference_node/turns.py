"""Whose turn it is with the engine: a few at a time, accounts in rotation, so that nobody's queue starves another's."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_WAITING = 256
MOST_WAITING_EACH = 32


class Ticket:
    """A place in the queue. Give it back with `release`, used or not."""

    def __init__(self, turns: Turns, owner: str) -> None:
        self._turns = turns
        self.owner = owner
        self.called = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the turn."""
        await self.called.wait()

    def release(self) -> None:
        """Let the next one have the engine, or leave the queue."""
        self._turns.release(self)


class Turns:
    """The queue before the engine. `on_change` is called when its length may have changed.

    `places` is how many have their turn at once. Of those who wait, the next is of the owner with the fewest turns at
    the moment, and among those of the one that has waited longest for one.
    """

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        *,
        places: int = 1,
        most_waiting: int = MOST_WAITING,
        most_waiting_each: int = MOST_WAITING_EACH,
    ) -> None:
        self._on_change = on_change
        self._places = places
        self._most_waiting = most_waiting
        self._most_waiting_each = most_waiting_each
        # Owners in the order of their next turn.
        self._queues: dict[str, deque[Ticket]] = {}
        self._current: set[Ticket] = set()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def current(self) -> int:
        """How many have their turn."""
        return len(self._current)

    def resize(self, places: int) -> None:
        """Have so many turns at once from now on; nobody's turn is cut short."""
        self._places = places
        self._call()

    def take(self, owner: str) -> Ticket:
        """Join the queue. Raises DomovoiError `engine_busy` when it is full, altogether or for this owner."""
        queue = self._queues.get(owner, deque())
        if self.waiting >= self._most_waiting or len(queue) >= self._most_waiting_each:
            raise DomovoiError(Code.ENGINE_BUSY)
        ticket = Ticket(self, owner)
        self._queues.setdefault(owner, queue).append(ticket)
        self._call()
        return ticket

    def release(self, ticket: Ticket) -> None:
        """End the ticket's turn, or its waiting. Releasing it again changes nothing."""
        self._current.discard(ticket)
        queue = self._queues.get(ticket.owner)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            if not queue:
                del self._queues[ticket.owner]
        self._call()

    def _call(self) -> None:
        while len(self._current) < self._places and self._queues:
            self._call_next()
        self._on_change()

    def _call_next(self) -> None:
        turns = [ticket.owner for ticket in self._current]
        # min takes the first of several, and that is the one that has waited longest.
        owner = min(self._queues, key=turns.count)
        queue = self._queues.pop(owner)
        ticket = queue.popleft()
        if queue:
            # Behind everybody else who waits.
            self._queues[owner] = queue
        self._current.add(ticket)
        ticket.called.set()
