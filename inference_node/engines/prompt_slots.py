"""Which of an engine's slots a prompt takes: the one that remembers most of it, and never another owner's memory."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inference_node.engines.engine import ChatMessage, Prompt

# A waiting generation looks this often whether it is stopped, seconds.
LOOK_EVERY_S = 0.1
# Raw texts that begin alike for so many characters are taken for one text that grows.
SAME_START = 256


class Slot:
    """A place for one generation. `may_reuse`: what it remembers is the same owner's."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.may_reuse = False
        self.owner: str | None = None
        self.parts: list[ChatMessage | str] = []
        self.used = 0
        self.is_taken = False

    def remembers(self, owner: str, parts: list[ChatMessage | str]) -> int:
        """Return how many of a prompt's first parts are here, or 0 when most of what is here would be lost."""
        if self.owner != owner:
            return 0
        pairs = zip(self.parts, parts, strict=False)
        common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        return common if 2 * common >= len(self.parts) else 0


class PromptSlots:
    """The slots of one engine, for threads."""

    def __init__(self, count: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._used = itertools.count(1)
        self._change = threading.Condition()

    @contextmanager
    def take(self, prompt: Prompt, is_stopped: Callable[[], bool]) -> Iterator[Slot | None]:
        """Wait for a free slot; None when the generation is stopped before there is one."""
        slot = self._wait(prompt, is_stopped)
        try:
            yield slot
        finally:
            if slot is not None:
                with self._change:
                    slot.is_taken = False
                    self._change.notify()

    def _wait(self, prompt: Prompt, is_stopped: Callable[[], bool]) -> Slot | None:
        with self._change:
            while not (free := [slot for slot in self._slots if not slot.is_taken]):
                if is_stopped():
                    return None
                self._change.wait(LOOK_EVERY_S)
            parts = _parts(prompt)
            slot = max(free, key=lambda slot: (slot.remembers(prompt.owner, parts), -slot.used))
            slot.may_reuse = slot.owner == prompt.owner
            slot.owner, slot.parts, slot.used, slot.is_taken = prompt.owner, parts, next(self._used), True
            return slot


def _parts(prompt: Prompt) -> list[ChatMessage | str]:
    return [*prompt.messages] if prompt.text is None else [prompt.text[:SAME_START]]
