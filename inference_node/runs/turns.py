"""Whose turn it is with the engine: a few at a time, accounts in rotation, so that nobody's queue starves another's."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from inference_node import metrics
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_WAITING = 256
MOST_WAITING_EACH = 32


class Ticket:
    """A place in the queue. Give it back with `release`, used or not."""

    def __init__(self, turns: Turns, line: _Line, owner: str) -> None:
        self._turns = turns
        self.line = line
        self.owner = owner
        self.called = asyncio.Event()
        self.taken_s = time.monotonic()

    async def wait(self) -> None:
        """Wait for the turn."""
        await self.called.wait()

    def call(self) -> None:
        """Have its turn begin."""
        metrics.queue_seconds.observe(time.monotonic() - self.taken_s)
        self.called.set()

    def release(self) -> None:
        """Let the next one have the engine, or leave the queue."""
        self._turns.release(self)


class Turns:
    """The queues before the engines, one for each model. `on_change` is called when their length may have changed.

    `places` is how many have their turn at once with a model that nothing else is known of. Of those who wait, the
    next is of the owner with the fewest turns at the moment, and among those of the one that has waited longest.
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
        self._most_waiting = most_waiting
        self._most_waiting_each = most_waiting_each
        self._places = places
        # By model. Names that nobody waits for are forgotten, unless their places are known.
        self._lines: dict[str, _Line] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(line.waiting for line in self._lines.values())

    @property
    def current(self) -> int:
        """How many have their turn."""
        return sum(len(line.current) for line in self._lines.values())

    def resize(self, model: str, places: int) -> None:
        """Have so many turns at once with a model from now on; nobody's turn is cut short."""
        line = self._lines.setdefault(model, _Line(places))
        line.places, line.is_known = places, True
        line.call()
        self._on_change()

    def take(self, owner: str, model: str = "") -> Ticket:
        """Join a model's queue. Raises DomovoiError `engine_busy` when too many wait, altogether or of this owner."""
        own = sum(line.waiting_of(owner) for line in self._lines.values())
        if self.waiting >= self._most_waiting or own >= self._most_waiting_each:
            raise DomovoiError(Code.ENGINE_BUSY)
        line = self._lines.setdefault(model, _Line(self._places))
        ticket = Ticket(self, line, owner)
        line.join(ticket)
        line.call()
        self._on_change()
        return ticket

    def release(self, ticket: Ticket) -> None:
        """End the ticket's turn, or its waiting. Releasing it again changes nothing."""
        ticket.line.leave(ticket)
        ticket.line.call()
        self._lines = {model: line for model, line in self._lines.items() if line.is_known or line.is_busy}
        self._on_change()


class _Line:
    """The queue before one model."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.is_known = False
        self.current: set[Ticket] = set()
        # Owners in the order of their next turn.
        self._queues: dict[str, deque[Ticket]] = {}

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    @property
    def is_busy(self) -> bool:
        return bool(self.current or self._queues)

    def waiting_of(self, owner: str) -> int:
        return len(self._queues.get(owner, ()))

    def join(self, ticket: Ticket) -> None:
        self._queues.setdefault(ticket.owner, deque()).append(ticket)

    def leave(self, ticket: Ticket) -> None:
        self.current.discard(ticket)
        queue = self._queues.get(ticket.owner)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            if not queue:
                del self._queues[ticket.owner]

    def call(self) -> None:
        while len(self.current) < self.places and self._queues:
            turns = [ticket.owner for ticket in self.current]
            # min takes the first of several, and that is the one that has waited longest.
            owner = min(self._queues, key=turns.count)
            queue = self._queues.pop(owner)
            ticket = queue.popleft()
            if queue:
                # Behind everybody else who waits.
                self._queues[owner] = queue
            self.current.add(ticket)
            ticket.call()
