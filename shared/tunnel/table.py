"""The streams of a session: opening, what the peer says on them, credit, ending (rules N8-N11)."""

from __future__ import annotations

from enum import IntEnum

from shared.errors import Code, DomovoiError
from shared.tunnel.credit import ReceiveCredit
from shared.tunnel.events import Data, Ended, Event, Lost, Opened, Reset, SessionEnd, Writable
from shared.tunnel.frames import Fault, Frame, FrameError, FrameType
from shared.tunnel.limits import (
    EAGER_GRANT_BYTES,
    HELD_BYTES,
    MAX_STREAMS,
    MAX_WAITING_CONTROL_BYTES,
    SESSION_CREDIT_BYTES,
)
from shared.tunnel.payloads import ResetPayload, WindowPayload, read, write
from shared.tunnel.scheduling import Scheduler
from shared.tunnel.streams import Direction, Stream


class Side(IntEnum):
    """Who opens which streams: the server those with even numbers, from 2, the node those with odd ones, from 1."""

    SERVER = 0
    NODE = 1


class StreamTable:
    """All streams that are not over. What the owner says of a stream that is gone already changes nothing."""

    def __init__(self, side: Side, events: list[Event]) -> None:
        self.scheduler = Scheduler()
        self._side = side
        self._events = events
        self._streams: dict[int, Stream] = {}
        self._credit = ReceiveCredit(SESSION_CREDIT_BYTES)
        self._last = {Side.SERVER: 0, Side.NODE: -1}
        self._end: SessionEnd | None = None

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def unconsumed(self) -> int:
        """Bytes of DATA that the owner was given and has not consumed."""
        return self._credit.unconsumed

    @property
    def buffered(self) -> int:
        """Bytes that were taken from the owner and not sent."""
        return self.scheduler.control_bytes + sum(stream.buffered for stream in self._streams.values())

    # What the owner does.

    def open(self, payload: bytes) -> int:
        """Begin a stream and return its number.

        Raises DomovoiError: node_unreachable when the session is over, engine_busy when too many are open,
        body_too_large when the payload is more than a frame.
        """
        if self._end is not None:
            raise DomovoiError(Code.NODE_UNREACHABLE)
        mine = sum(number % 2 == self._side for number in self._streams)
        if mine >= MAX_STREAMS or self.scheduler.control_bytes >= MAX_WAITING_CONTROL_BYTES:
            raise DomovoiError(Code.ENGINE_BUSY)
        self._check_size(payload)
        self._last[self._side] += 2
        stream = self._add(self._last[self._side])
        self._send_open(stream, payload)
        return stream.number

    def answer(self, number: int, payload: bytes) -> None:
        """Open our direction of a stream that the peer began. Raises ValueError when it is open, and as `open`."""
        self._check_size(payload)
        if (stream := self._streams.get(number)) is not None:
            if stream.sent is not Direction.NEW:
                raise ValueError(f"stream {number} is open")
            self._send_open(stream, payload)

    def write(self, number: int, data: bytes) -> int:
        """Take as much of `data` as there is room for, and return how much; `Writable` tells when there is more.

        Raises ValueError before `open` or `answer`, and after `finish`.
        """
        if (stream := self._streams.get(number)) is None:
            return 0
        taken = stream.write(data)
        self.scheduler.wake(stream)
        return taken

    def finish(self, number: int) -> None:
        """End our direction after what waits. Raises ValueError before `open` or `answer`."""
        if (stream := self._streams.get(number)) is not None:
            stream.finish()
            self.scheduler.wake(stream)

    def reset(self, number: int, code: str) -> None:
        """Give the stream up, both ways, what waits included. The peer is told, if it knows of the stream."""
        if (stream := self._streams.get(number)) is None:
            return
        is_unsent = self._forget(stream)
        if number % 2 != self._side or not is_unsent:
            self._send_reset(number, code)

    def consumed(self, number: int, size: int) -> None:
        """Say that `size` bytes of DATA were handed on. Raises ValueError when that is more than came."""
        if (stream := self._streams.get(number)) is None:
            return
        if size > stream.receive_credit.unconsumed:
            raise ValueError(f"stream {number} has not brought {size} bytes")
        step = self._grant_step()
        credit = stream.receive_credit.consumed(size, step)
        self.scheduler.grant(0, self._credit.consumed(size, step))
        if stream.received is Direction.OPEN:
            self.scheduler.grant(number, credit)
        self._forget_if_over(stream)

    # What the session does.

    def take_next(self) -> Frame | None:
        """Return the next frame to be numbered and sent."""
        if (found := self.scheduler.next()) is None:
            return None
        frame, stream = found
        if stream is not None:
            if stream.take_writable():
                self._events.append(Writable(stream.number))
            self._forget_if_over(stream)
        return frame

    def on_frame(self, frame: Frame) -> None:
        """Take a frame of the peer's, in order. Raises FrameError."""
        if frame.type is FrameType.DATA:
            self._received(len(frame.payload))
        if frame.type is FrameType.OPEN and self._is_new(frame.stream):
            self._opened(frame)
        elif frame.stream == 0 and frame.type is FrameType.WINDOW:
            self.scheduler.credit.grant(read(frame, WindowPayload).credit)
        elif (stream := self._known(frame.stream)) is not None:
            self._on_stream_frame(stream, frame)
        elif frame.type is FrameType.DATA:
            # It crossed our RESET on its way: nobody will consume it.
            self._release(len(frame.payload))

    def lose(self, end: SessionEnd) -> None:
        """The session is over: end every stream, with the reason."""
        self._end = end
        self._events += [Lost(number, end) for number in self._streams]
        self._streams.clear()
        self.scheduler.forget()
        self._credit = ReceiveCredit(SESSION_CREDIT_BYTES)

    # Inside.

    def _is_new(self, number: int) -> bool:
        side = Side(number % 2)
        return number != 0 and side is not self._side and number > self._last[side]

    def _known(self, number: int) -> Stream | None:
        """Return the stream, None when it is over. Raises FrameError when there was never one."""
        if number == 0 or number > self._last[Side(number % 2)]:
            raise FrameError(Fault.STREAM, f"no stream {number}")
        return self._streams.get(number)

    def _opened(self, frame: Frame) -> None:
        side = Side(frame.stream % 2)
        self._last[side] = frame.stream
        if sum(number % 2 == side for number in self._streams) >= MAX_STREAMS:
            self._send_reset(frame.stream, Code.ENGINE_BUSY)
            return
        self._on_stream_frame(self._add(frame.stream), frame)

    def _on_stream_frame(self, stream: Stream, frame: Frame) -> None:
        match frame.type:
            case FrameType.OPEN:
                stream.advance(frame.type)
                self._events.append(Opened(stream.number, frame.payload))
            case FrameType.DATA:
                stream.advance(frame.type)
                stream.receive_credit.received(len(frame.payload))
                self._events.append(Data(stream.number, frame.payload))
            case FrameType.END:
                stream.advance(frame.type)
                self._events.append(Ended(stream.number))
                self._forget_if_over(stream)
            case FrameType.WINDOW:
                stream.send_credit.grant(read(frame, WindowPayload).credit)
            case _:
                code = read(frame, ResetPayload).code
                self._forget(stream)
                self._events.append(Reset(stream.number, code))

    def _add(self, number: int) -> Stream:
        stream = self._streams[number] = Stream(number)
        return stream

    def _check_size(self, payload: bytes) -> None:
        if len(payload) > self.scheduler.max_frame:
            raise DomovoiError(Code.BODY_TOO_LARGE)

    def _send_open(self, stream: Stream, payload: bytes) -> None:
        stream.sent = Direction.OPEN
        self.scheduler.control(Frame(FrameType.OPEN, stream.number, payload))

    def _send_reset(self, number: int, code: str) -> None:
        self.scheduler.control(Frame(FrameType.RESET, number, write(ResetPayload(code))))

    def _received(self, size: int) -> None:
        if not size:
            raise FrameError(Fault.PAYLOAD, "DATA without data")
        was_eager = self._grant_step() is not None
        self._credit.received(size)
        if not was_eager and self._grant_step() is not None:
            self._grant_what_is_owed()

    def _grant_step(self) -> int | None:
        """Return from how many bytes on credit is granted; None: from half of it."""
        return EAGER_GRANT_BYTES if self._credit.unconsumed > HELD_BYTES else None

    def _grant_what_is_owed(self) -> None:
        """Too much is held by slow readers: the others learn at once of what was to be granted later."""
        self.scheduler.grant(0, self._credit.consumed(0, EAGER_GRANT_BYTES))
        for stream in self._streams.values():
            if stream.received is Direction.OPEN:
                self.scheduler.grant(stream.number, stream.receive_credit.consumed(0, EAGER_GRANT_BYTES))

    def _release(self, size: int) -> None:
        self.scheduler.grant(0, self._credit.consumed(size, self._grant_step()))

    def _forget(self, stream: Stream) -> bool:
        """Forget the stream; return whether our OPEN of it had not been sent."""
        del self._streams[stream.number]
        self._release(stream.receive_credit.unconsumed)
        return self.scheduler.drop(stream)

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.is_over and self._streams.get(stream.number) is stream:
            self._forget(stream)
