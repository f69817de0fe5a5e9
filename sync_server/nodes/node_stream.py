"""One relayed call inside a tunnel, from the server's side (rules T3, T4)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import msgspec

from shared.errors import Code, DomovoiError
from shared.tunnel.credit import ReceiveCredit, SendCredit
from shared.tunnel.frames import Fault, Frame, FrameError, FrameType
from shared.tunnel.payloads import OpenResponse, ResetPayload, WindowPayload

Send = Callable[[Frame], None]


class NodeStream:
    """Sends a request's body and receives its response, each as fast as the other side takes it.

    `send` puts a frame into the tunnel without waiting; credit bounds what can wait there. `on_done` is called
    when neither side may send any more.
    """

    def __init__(self, number: int, send: Send, on_done: Callable[[int], None]) -> None:
        self.number = number
        self._send = send
        self._on_done = on_done
        self._may_send = SendCredit()
        self._granted = asyncio.Event()
        self._owed = ReceiveCredit()
        self._chunks: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._head: OpenResponse | None = None
        self._failure: Code | None = None
        self._has_ended = False

    # For the relay.

    async def send(self, data: bytes) -> None:
        """Send a piece of the request's body, waiting for credit."""
        while data and self._failure is None:
            taken = self._may_send.take(len(data))
            if taken == 0:
                self._granted.clear()
                await self._granted.wait()
                continue
            self._send(Frame(FrameType.DATA, self.number, data[:taken]))
            data = data[taken:]

    def end(self) -> None:
        """Say that the request's body is complete."""
        if self._failure is None:
            self._send(Frame(FrameType.END, self.number))

    async def head(self) -> OpenResponse:
        """Return the head of the response. Raises DomovoiError with what ended the call before it."""
        while self._head is None:
            self._raise_failure()
            await self._next()
        return self._head

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body of the response. Raises DomovoiError when it was cut off."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                yield chunk
                if credit := self._owed.consumed(len(chunk)):
                    self._send(Frame(FrameType.WINDOW, self.number, msgspec.msgpack.encode(WindowPayload(credit))))
            self._raise_failure()
            if self._has_ended:
                return
            await self._next()

    def abandon(self) -> None:
        """Tell the node that nobody waits for the response, unless the call is over."""
        if not self._has_ended and self._failure is None:
            self._send(Frame(FrameType.RESET, self.number, msgspec.msgpack.encode(ResetPayload(Code.NOT_FOUND))))
        self._on_done(self.number)

    async def _next(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise DomovoiError(self._failure)

    # For the tunnel.

    def on_frame(self, frame: Frame) -> None:
        """Take a frame of this stream. Raises FrameError or MsgspecError when it breaks the protocol."""
        match frame.type:
            case FrameType.OPEN if self._head is None:
                self._head = msgspec.msgpack.decode(frame.payload, type=OpenResponse)
            case FrameType.DATA if self._head is not None and not self._has_ended:
                self._owed.received(len(frame.payload))
                self._chunks.append(frame.payload)
            case FrameType.END if self._head is not None:
                self._has_ended = True
            case FrameType.WINDOW:
                self._may_send.grant(msgspec.msgpack.decode(frame.payload, type=WindowPayload).credit)
                self._granted.set()
            case FrameType.RESET:
                self.fail(_code(msgspec.msgpack.decode(frame.payload, type=ResetPayload).code))
            case _:
                raise FrameError(Fault.ORDER, f"{frame.type.name} out of place")
        self._arrived.set()

    def fail(self, code: Code) -> None:
        """End the call: the node gave up, or the tunnel is gone."""
        if not self._has_ended:
            self._failure = code
        self._arrived.set()
        self._granted.set()


def _code(text: str) -> Code:
    try:
        return Code(text)
    except ValueError:  # from a newer node
        return Code.NODE_UNREACHABLE
