"""One run: what was asked, what it has said so far, and the events that tell its watchers (rules S1, S2)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from inference_node.engines.engine import ChatMessage
from inference_node.runs.replay import Replay
from shared.limits import MAX_MESSAGE_CHARACTERS, TEXT_EVENT_MS
from shared.runs import Text
from shared.values import AnswerState, Sampling

if TYPE_CHECKING:
    from inference_node.engines.engine import Generation


class Asked(Struct, frozen=True):
    """A request for an answer with all that it takes; `lease` is the token of one that was asked of any node."""

    account: bytes
    answer: bytes
    conversation: bytes
    model: str | None
    sampling: Sampling
    path: list[ChatMessage]
    lease: bytes | None = None


class Run:
    """An answer that is being made, or was made a short while ago."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.state: AnswerState = "queued"
        self.replay = Replay(asked.answer)
        self.stopping = asyncio.Event()
        self._generation: Generation | None = None
        self.completion_tokens = 0
        self.first_token_ms: int | None = None
        self._started = time.monotonic()
        self._pieces: list[str] = []
        self._characters = 0
        # What no text event has carried yet.
        self._pending: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        # When the next text may go out, in the loop's seconds.
        self._next_s = 0.0

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(self._pieces)

    @property
    def duration_ms(self) -> int:
        """How long the run has had the engine, in ms."""
        return round((time.monotonic() - self._started) * 1000)

    @property
    def is_full(self) -> bool:
        """Whether the answer has as much text as a message may have."""
        return self._characters >= MAX_MESSAGE_CHARACTERS

    def begin(self) -> None:
        """Take the engine: times count from here."""
        self.state = "running"
        self._started = time.monotonic()

    def follow(self, generation: Generation) -> None:
        """Have what makes the answer stopped with the run."""
        self._generation = generation
        if self.stopping.is_set():
            generation.stop()

    def stop(self) -> None:
        """End the run as soon as may be; what it has said stays."""
        self.stopping.set()
        if self._generation is not None:
            self._generation.stop()

    def say(self, text: str, tokens: int = 1) -> None:
        """Add text of so many tokens.

        It goes out at once, unless text went out a moment ago: a fast model's tokens are joined, others do not wait.
        """
        text = text[: MAX_MESSAGE_CHARACTERS - self._characters]
        self._pieces.append(text)
        self._pending.append(text)
        self._characters += len(text)
        if self.is_full and self._generation is not None:
            self._generation.stop()
        self.completion_tokens += tokens
        if self.first_token_ms is None:
            self.first_token_ms = self.duration_ms
        if self._timer is None:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._next_s:
                self.flush()
            else:
                self._timer = loop.call_at(self._next_s, self.flush)

    def flush(self) -> None:
        """Send the text that waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if text := "".join(self._pending):
            self._pending.clear()
            self._next_s = asyncio.get_running_loop().time() + TEXT_EVENT_MS / 1000
            self.replay.append(Text(text))
