"""The numbered events of a run, kept for watchers that come late or again (rules S1-S4)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from inference_node.accelerator import encode_event
from shared.errors import Code, DomovoiError
from shared.limits import REPLAY_BYTES, TEXT_EVENT_MS
from shared.runs import Ended, Notice, RunEvent, Started, Text, event_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_KINDS: dict[type[RunEvent], str] = {Started: "started", Text: "text", Notice: "notice", Ended: "ended"}


class Replay:
    """Events as ready frames, each encoded once for all its watchers, who read at their own pace."""

    def __init__(self, answer_id: bytes) -> None:
        self._answer_id = answer_id
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._last = 0
        self._has_ended = False
        self._news = asyncio.Event()

    def append(self, event: RunEvent) -> None:
        """Number the event and wake the watchers. Nothing follows Ended."""
        self._last += 1
        frame = encode_event(event_id(self._answer_id, self._last), _KINDS[type(event)], msgspec.json.encode(event))
        self._frames.append(frame)
        self._bytes += len(frame)
        # The last event stays whatever its size: it carries the records.
        while self._bytes > REPLAY_BYTES and len(self._frames) > 1:
            self._bytes -= len(self._frames.popleft())
        self._has_ended = isinstance(event, Ended)
        self._news.set()
        self._news = asyncio.Event()

    def watch(self, after: int) -> AsyncIterator[bytes]:
        """Yield the frames after event `after`, then new ones until the end. Raises DomovoiError events_gone."""
        if not self._last - len(self._frames) <= after <= self._last:
            raise DomovoiError(Code.EVENTS_GONE)
        return self._follow(after)

    async def _follow(self, seen: int) -> AsyncIterator[bytes]:
        while True:
            news = self._news
            missing = self._last - seen
            if missing > len(self._frames):
                # So slow that its place is gone: the stream ends without Ended, and coming again says events_gone.
                return
            if missing:
                seen = self._last
                yield b"".join(list(self._frames)[-missing:])
            elif self._has_ended:
                return
            else:
                await news.wait()


class TextEvents:
    """Gathers pieces of text into events: the first at once, then one every TEXT_EVENT_MS while there is any."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._pieces: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, piece: str) -> None:
        """Take the next piece."""
        self._pieces.append(piece)
        if self._timer is None:
            self._pass_on()

    def flush(self) -> None:
        """Emit what waits, and start anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pieces:
            self._emit("".join(self._pieces))
            self._pieces.clear()

    def _pass_on(self) -> None:
        self._timer = None
        if self._pieces:
            self.flush()
            self._timer = asyncio.get_running_loop().call_later(TEXT_EVENT_MS / 1000, self._pass_on)
