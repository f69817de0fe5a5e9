"""One stream of a session: its two directions, its credit, what waits to be sent (rules N8, N9)."""

from __future__ import annotations

from enum import IntEnum

from shared.tunnel.credit import ReceiveCredit, SendCredit
from shared.tunnel.frames import Fault, Frame, FrameError, FrameType
from shared.tunnel.limits import STREAM_BUFFER_BYTES


class Direction(IntEnum):
    """How far one direction has come: OPEN, DATA…, END."""

    NEW = 0
    OPEN = 1
    ENDED = 2


class Stream:
    """One call. A stream is forgotten when both directions have ended and all that came was consumed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent = Direction.NEW
        self.received = Direction.NEW
        self.send_credit = SendCredit()
        self.receive_credit = ReceiveCredit()
        self._buffer = bytearray()
        self._is_finishing = False
        self._wants_to_write = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen on it."""
        is_ended = self.sent is Direction.ENDED and self.received is Direction.ENDED
        return is_ended and not self.receive_credit.unconsumed

    @property
    def buffered(self) -> int:
        """Bytes that were taken from the owner and not sent."""
        return len(self._buffer)

    @property
    def has_waiting(self) -> bool:
        """Whether DATA or END wait to be sent."""
        return bool(self._buffer) or (self._is_finishing and self.sent is Direction.OPEN)

    def write(self, data: bytes) -> int:
        """Take as much of `data` as there is room for, and return how much. Raises ValueError after `finish`."""
        if self.sent is not Direction.OPEN or self._is_finishing:
            raise ValueError(f"stream {self.number} takes no data")
        taken = data[: STREAM_BUFFER_BYTES - len(self._buffer)]
        self._buffer += taken
        self._wants_to_write = len(taken) < len(data)
        return len(taken)

    def finish(self) -> None:
        """Send END after what waits. Raises ValueError before OPEN; a second time changes nothing."""
        if self.sent is Direction.NEW:
            raise ValueError(f"stream {self.number} was not opened")
        self._is_finishing = True

    def take(self, most: int) -> Frame | None:
        """Return the next frame, DATA of up to `most` bytes within the stream's credit, or END; None: neither."""
        if self._buffer:
            size = self.send_credit.take(min(most, len(self._buffer)))
            if size <= 0:
                return None
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            return Frame(FrameType.DATA, self.number, data)
        if self._is_finishing and self.sent is Direction.OPEN:
            self.sent = Direction.ENDED
            return Frame(FrameType.END, self.number)
        return None

    def take_writable(self) -> bool:
        """Return, once, whether the owner was refused and there is room again."""
        is_writable = self._wants_to_write and len(self._buffer) <= STREAM_BUFFER_BYTES // 2
        if is_writable:
            self._wants_to_write = False
        return is_writable

    def advance(self, kind: FrameType) -> None:
        """Move the peer's direction by an OPEN, DATA or END. Raises FrameError `order`."""
        before, after = {
            FrameType.OPEN: (Direction.NEW, Direction.OPEN),
            FrameType.DATA: (Direction.OPEN, Direction.OPEN),
            FrameType.END: (Direction.OPEN, Direction.ENDED),
        }[kind]
        if self.received is not before:
            raise FrameError(Fault.ORDER, f"{kind.name} out of place on stream {self.number}")
        self.received = after
