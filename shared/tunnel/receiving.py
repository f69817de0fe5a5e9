"""The receiving half of a session: each frame once and in order, and when to acknowledge (rules N5, N6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tunnel.frames import Fault, FrameError
from shared.tunnel.limits import ACK_AFTER_S, ACK_EVERY_FRAMES, REORDERED_FRAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tunnel.frames import Frame


class Receiver:
    """Drops what it has seen and holds what came too early. Times are in seconds."""

    def __init__(self) -> None:
        self._early: dict[int, Frame] = {}
        self._owed = 0
        self.last = 0
        # When an ACK is to be sent if no frame carries it before.
        self.acknowledge_at: float | None = None

    @property
    def early_bytes(self) -> int:
        """Payload bytes that are held because a frame before them is missing."""
        return sum(len(frame.payload) for frame in self._early.values())

    def accept(self, frame: Frame, now: float) -> Iterator[Frame]:
        """Yield the frames that are next in order now. Raises FrameError `gap` when too many are missing before it."""
        # What was seen before is acknowledged again as well: its sender does not know that it came.
        self._owe(now)
        if frame.seq > self.last + REORDERED_FRAMES:
            raise FrameError(Fault.GAP, f"{frame.seq} came after {self.last}")
        if frame.seq <= self.last:
            return
        self._early[frame.seq] = frame
        while (following := self._early.pop(self.last + 1, None)) is not None:
            self.last += 1
            yield following

    def _owe(self, now: float) -> None:
        self._owed += 1
        if self._owed >= ACK_EVERY_FRAMES:
            self.acknowledge_at = now
        elif self.acknowledge_at is None:
            self.acknowledge_at = now + ACK_AFTER_S

    def acknowledged(self) -> None:
        """A frame, or a poll, carries `last` to the peer."""
        self._owed = 0
        self.acknowledge_at = None

    def forget(self) -> None:
        """The session is over: keep nothing."""
        self._early.clear()
        self.acknowledged()
