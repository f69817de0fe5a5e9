"""The sending half of a session: numbers, what is not acknowledged, sending again (rules N5-N7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared.tunnel.frames import HEAD_BYTES, Fault, FrameError

if TYPE_CHECKING:
    from shared.tunnel.frames import Frame


class Sender:
    """Keeps every numbered frame until the peer has it. Times are in seconds."""

    def __init__(self) -> None:
        # By number, in order and without gaps: the frame, and when it was numbered.
        self._kept: dict[int, tuple[Frame, float]] = {}
        self._next_number = 1
        self._again = 1
        self._moved_at = 0.0
        self.acknowledged = 0
        self.kept_bytes = 0

    @property
    def last(self) -> int:
        """The last number that was given, 0 before the first."""
        return self._next_number - 1

    @property
    def oldest_since(self) -> float | None:
        """When the oldest unacknowledged frame was numbered."""
        return None if not self._kept else self._kept[self.acknowledged + 1][1]

    @property
    def waiting_since(self) -> float | None:
        """Since when the peer has acknowledged nothing more although it should, on this transport."""
        since = self.oldest_since
        return None if since is None else max(since, self._moved_at)

    def number(self, frame: Frame, now: float) -> Frame:
        """Return the frame with the next number; it is kept, and counts as sent."""
        numbered = replace(frame, seq=self._next_number)
        self._kept[self._next_number] = numbered, now
        self.kept_bytes += HEAD_BYTES + len(frame.payload)
        if self._again == self._next_number:
            self._again += 1
        self._next_number += 1
        return numbered

    def take_again(self) -> Frame | None:
        """Return the next frame that this transport has not carried yet, or None when it has carried all."""
        if self._again >= self._next_number:
            return None
        frame, _ = self._kept[self._again]
        self._again += 1
        return frame

    @property
    def has_again(self) -> bool:
        """Whether frames are to be sent again."""
        return self._again < self._next_number

    def acknowledge(self, number: int, now: float) -> None:
        """Forget everything up to `number`. Raises FrameError `ack` when that was never sent."""
        if number >= self._next_number:
            raise FrameError(Fault.ACK, "acknowledges what was never sent")
        if number > self.acknowledged:
            self._moved_at = now
        while self.acknowledged < number:
            self.acknowledged += 1
            frame, _ = self._kept.pop(self.acknowledged)
            self.kept_bytes -= HEAD_BYTES + len(frame.payload)
        self._again = max(self._again, self.acknowledged + 1)

    def rewind(self, last_rx: int, now: float) -> None:
        """Send again from behind `last_rx`, which the peer says it has. Raises FrameError `ack`."""
        self.acknowledge(last_rx, now)
        self._again = self.acknowledged + 1

    def change_transport(self, last_rx: int, now: float) -> None:
        """The same on a new transport, which is given time to move. Raises FrameError `ack`."""
        self.rewind(last_rx, now)
        self._moved_at = now

    def forget(self) -> None:
        """The session is over: keep nothing."""
        self.acknowledged = self.last
        self._again = self._next_number
        self._kept.clear()
        self.kept_bytes = 0
