"""A run's events, numbered and kept for a while, so that a watcher can come back for what it missed (rules S1-S4)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from inference_node.accelerator import encode_event
from shared.errors import Code, DomovoiError
from shared.limits import REPLAY_BYTES
from shared.runs import Ended, RunEvent, event_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Replay:
    """The events of one run as SSE frames, encoded once for all watchers. Appending never waits for any of them."""

    def __init__(self, answer: bytes, most_bytes: int = REPLAY_BYTES) -> None:
        self._answer = answer
        self._most_bytes = most_bytes
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._has_ended = False
        self._news = asyncio.Event()

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._dropped + len(self._frames)

    def append(self, event: RunEvent) -> None:
        """Add the next event and wake the watchers."""
        kind = type(event).__struct_config__.tag
        frame = encode_event(event_id(self._answer, self.last + 1), str(kind), msgspec.json.encode(event))
        self._frames.append(frame)
        self._bytes += len(frame)
        self._has_ended = isinstance(event, Ended)
        while self._bytes > self._most_bytes and len(self._frames) > 1:
            self._bytes -= len(self._frames.popleft())
            self._dropped += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    def require(self, after: int) -> None:
        """Raise DomovoiError `events_gone` unless everything after event `after` is kept."""
        if not self._dropped <= after <= self.last:
            raise DomovoiError(Code.EVENTS_GONE)

    async def follow(self, after: int) -> AsyncGenerator[bytes, None]:
        """Yield the frames after event `after`, to the last one of the run.

        A reader so slow that events are dropped before it has them is cut off; it comes back and is told.
        """
        while after >= self._dropped:
            news = self._news
            if after < self.last:
                frame = self._frames[after - self._dropped]
                after += 1
                yield frame
            elif self._has_ended:
                return
            else:
                await news.wait()
