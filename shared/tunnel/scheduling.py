"""Which frame is sent next: control before data, and streams in turn (rules N9-N11)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from shared.tunnel.credit import SendCredit
from shared.tunnel.frames import HEAD_BYTES, Frame, FrameType
from shared.tunnel.limits import (
    MAX_FRAME_PAYLOAD_BYTES,
    RESERVED_CREDIT_BYTES,
    SESSION_CREDIT_BYTES,
    SHARED_FRAME_BYTES,
    SMALL_STREAM_BYTES,
)
from shared.tunnel.payloads import WindowPayload, write

if TYPE_CHECKING:
    from shared.tunnel.streams import Stream


class Scheduler:
    """Numbered frames that wait for their number. `max_frame` is the greatest payload that the peer takes, in bytes."""

    def __init__(self) -> None:
        self.credit = SendCredit(SESSION_CREDIT_BYTES)
        self.max_frame = MAX_FRAME_PAYLOAD_BYTES
        self.control_bytes = 0
        self._control: deque[Frame] = deque()
        # Stream → credit to grant; what waits is joined. 0 is the session.
        self._windows: dict[int, int] = {}
        # Streams with DATA or END to send, in the order of their turns.
        self._turns: deque[Stream] = deque()

    def control(self, frame: Frame) -> None:
        """Send an OPEN or RESET as soon as possible."""
        self._control.append(frame)
        self.control_bytes += HEAD_BYTES + len(frame.payload)

    def grant(self, stream: int, credit: int) -> None:
        """Send a WINDOW as soon as possible; of no credit, nothing."""
        if credit:
            self._windows[stream] = self._windows.get(stream, 0) + credit

    def wake(self, stream: Stream) -> None:
        """The stream has something to send, or credit again."""
        if stream.has_waiting and stream not in self._turns:
            self._turns.append(stream)

    def drop(self, stream: Stream) -> bool:
        """Forget what waits of this stream; return whether even its OPEN had not been sent."""
        if stream in self._turns:
            self._turns.remove(stream)
        self._windows.pop(stream.number, None)
        for frame in self._control:
            if frame.type is FrameType.OPEN and frame.stream == stream.number:
                self._control.remove(frame)
                self.control_bytes -= HEAD_BYTES + len(frame.payload)
                return True
        return False

    def next(self) -> tuple[Frame, Stream | None] | None:
        """Return the next frame and, if it is DATA or END, its stream; None when nothing can be sent now."""
        if self._control:
            frame = self._control.popleft()
            self.control_bytes -= HEAD_BYTES + len(frame.payload)
            return frame, None
        if self._windows:
            number, credit = self._windows.popitem()
            return Frame(FrameType.WINDOW, number, write(WindowPayload(credit))), None
        return self._next_of_turns()

    def _next_of_turns(self) -> tuple[Frame, Stream] | None:
        """Give each stream that waits one frame in its turn. Who has no credit keeps its turn."""
        is_shared = len(self._turns) > 1
        most = min(self.max_frame, SHARED_FRAME_BYTES if is_shared else MAX_FRAME_PAYLOAD_BYTES)
        for _ in range(len(self._turns)):
            stream = self._turns.popleft()
            frame = stream.take(min(most, self._share(stream)))
            if frame is not None and frame.type is FrameType.DATA:
                self.credit.take(len(frame.payload))
            if stream.has_waiting:
                self._turns.append(stream)
            if frame is not None:
                return frame, stream
        return None

    def _share(self, stream: Stream) -> int:
        """Return how many bytes of the session's credit this stream may use now."""
        free = self.credit.available - RESERVED_CREDIT_BYTES
        small = min(self.credit.available, SMALL_STREAM_BYTES - stream.send_credit.outstanding)
        return max(free, small, 0)

    def forget(self) -> None:
        """The session is over: send nothing more."""
        self._control.clear()
        self._windows.clear()
        self._turns.clear()
        self.control_bytes = 0
