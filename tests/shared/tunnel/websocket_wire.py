"""A simulated WebSocket: messages in order both ways, until something happens to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tunnel.frames import Frame, FrameReader, FrameType, decode, encode
from shared.tunnel.machine import Failure
from shared.tunnel.table import Side
from tests.shared.tunnel.weather import Accident, Weather, WebSockets

if TYPE_CHECKING:
    from tests.shared.tunnel.ends import NodeEnd, ServerEnd
    from tests.shared.tunnel.virtual import Virtual

# What a sender may have on its way before it has to wait, as with the buffers of a socket.
MOST_UNDER_WAY = 300_000
MESSAGE_BYTES = 140_000


class WebSocketWire:
    """One attempt, and what comes of it."""

    def __init__(self, virtual: Virtual, weather: Weather, node: NodeEnd, server: ServerEnd, epoch: int) -> None:
        self.virtual, self.weather, self.node, self.server, self.epoch = virtual, weather, node, server, epoch
        self.sides = {side: WebSocketSide(self, side) for side in Side}
        self.is_open = {Side.NODE: True, Side.SERVER: True}
        self.is_black = False
        self._under_way = {Side.NODE: 0, Side.SERVER: 0}
        self._free_at = {Side.NODE: 0.0, Side.SERVER: 0.0}
        self._carried = 0

    def connect(self, hello: Frame) -> WebSocketSide:
        mode = self.weather.websockets
        if not self.weather.is_up or mode is WebSockets.SWALLOWED:
            if not self.weather.is_up and self.weather.is_unreachable:
                self.virtual.after(self.weather.delay(), lambda: self.node.failed(self.epoch, Failure.UNREACHABLE))
        elif mode is WebSockets.REFUSED:
            self.virtual.after(2 * self.weather.delay(), lambda: self.node.failed(self.epoch, Failure.REFUSED))
        else:
            if mode is WebSockets.CUT_AT_30_S:
                self.virtual.after(30, self._break)
            self.virtual.after(self.weather.delay(), lambda: self._send(Side.NODE, encode(hello)))
        return self.sides[Side.NODE]

    def flush(self, side: Side) -> None:
        """Send what the session has, while there is room."""
        session = (self.node if side is Side.NODE else self.server).session
        if session is None or session.epoch != self.epoch:
            return
        while self.is_open[side] and self._under_way[side] < MOST_UNDER_WAY:
            if not (message := session.outgoing(self.virtual.now, MESSAGE_BYTES)):
                break
            self._send(side, message)

    def close(self, side: Side) -> None:
        """One side ends it; the other learns of it after what was sent before."""
        if self.is_open[side]:
            self.is_open[side] = False
            at = max(self._free_at[side], self.virtual.now + self.weather.delay())
            self.virtual.after(at - self.virtual.now, lambda: self._closed(Side(1 - side)))

    def _closed(self, side: Side) -> None:
        if self.is_open[side] and not self.is_black:
            self.is_open[side] = False
            self._tell(side)

    def _tell(self, side: Side) -> None:
        if side is Side.NODE:
            self.node.failed(self.epoch, Failure.CLOSED)
        elif self.server.carrier is self.sides[Side.SERVER]:
            self.server.carrier = None
            if self.server.session is not None:
                self.server.session.detach(self.epoch, self.virtual.now)
            self.server.step()

    def _break(self) -> None:
        for side in Side:
            self.virtual.after(self.weather.delay(), lambda side=side: self._closed(side))  # type: ignore[misc]

    def _send(self, side: Side, message: bytes) -> None:
        self._under_way[side] += len(message)
        self._carried += len(message)
        accident = self.weather.accident()
        if not self.weather.is_up:
            accident = Accident.BLACK
        elif self.weather.websockets is WebSockets.CUT_AT_64_KB and self._carried > 65536:
            accident = Accident.CUT
        is_whole = True
        match accident:
            case Accident.BLACK:
                self.is_black = True
            case Accident.BROKEN | Accident.LOST:
                message = b""
            case Accident.CUT:
                message, is_whole = message[: self.virtual.random.randrange(len(message))], False
            case _:
                pass
        if accident in {Accident.CUT, Accident.BROKEN}:
            self._break()
        for _ in range(2 if accident is Accident.DOUBLED else 1):
            self._free_at[side] = max(self._free_at[side], self.virtual.now + self.weather.delay())
            delay = self._free_at[side] - self.virtual.now
            self.virtual.after(delay, lambda: self._arrive(side, message, is_whole=is_whole))

    def _arrive(self, side: Side, message: bytes, *, is_whole: bool) -> None:
        self._under_way[side] = max(0, self._under_way[side] - len(message))
        other = Side(1 - side)
        if self.is_black or not self.is_open[other]:
            return
        frames = decode(message) if is_whole else FrameReader().feed(message)
        end = self.node if other is Side.NODE else self.server
        if message[1:2] == bytes([FrameType.HELLO]) and is_whole:
            self._greet(next(frames))
        elif message[1:2] == bytes([FrameType.WELCOME]) and is_whole:
            self.node.welcomed(self.epoch, next(frames))
        elif end.session is not None:
            end.session.receive(self.epoch, frames, self.virtual.now)
        end.step()
        self.flush(side)

    def _greet(self, hello: Frame) -> None:
        transport = self.sides[Side.SERVER]
        if self.server.carrier is transport:
            return  # doubled
        welcome = self.server.greeted(hello, transport)
        if welcome is None:
            transport.close()
        else:
            self._send(Side.SERVER, encode(welcome))


class WebSocketSide:
    """What one end has of it."""

    def __init__(self, wire: WebSocketWire, side: Side) -> None:
        self._wire, self._side = wire, side

    def flush(self) -> None:
        self._wire.flush(self._side)

    def close(self) -> None:
        self._wire.close(self._side)
