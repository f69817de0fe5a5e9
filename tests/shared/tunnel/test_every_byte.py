"""One exchange, killed at every byte that it takes, on both transports and across switches (rules N5-N8, N13, N15)."""

from __future__ import annotations

import hashlib
from random import Random
from typing import TYPE_CHECKING

import pytest

from shared.tunnel.events import Data, Ended, Lost, Opened, Over, Reset
from shared.tunnel.frames import FrameReader
from shared.tunnel.limits import MAX_MESSAGE_FRAMES
from tests.shared.tunnel.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.tunnel.session import Session

# Of a body, so many pieces of so many bytes: few enough that each byte of them can be the last.
PIECES = (1, 40, 3, 90)
TURNS = 30
# Longer than an acknowledgement waits.
TURN_S = 0.25
UNLIMITED = 1_000_000


class Killed(Exception):
    """The connection broke."""


class Exchange:
    """A call and its answer over a pair of sessions. `left` is how many bytes pass before the kill.

    `asks_again`: in long polling a request that was cut is sent once more on the same transport.
    """

    def __init__(self, left: int, *, asks_again: bool) -> None:
        self.pair = Pair()
        self.left = left
        self.asks_again = asks_again
        self.carried = 0
        random = Random(7)
        self.bodies = {side: b"".join(random.randbytes(size) for size in PIECES) for side in ("call", "answer")}
        self.received = {"call": bytearray(), "answer": bytearray()}
        self.ended: set[str] = set()
        self.stream = self.pair.served.streams.open(b"a call")
        self._write(self.pair.served, "call")

    @property
    def is_over(self) -> bool:
        return self.ended == {"call", "answer"}

    def _write(self, session: Session, name: str) -> None:
        body, place = self.bodies[name], 0
        for size in PIECES:
            assert session.streams.write(self.stream, body[place : place + size]) == size
            place += size
        session.streams.finish(self.stream)

    def pass_on(self, message: bytes, take: Callable[[FrameReader, bytes], None]) -> None:
        """Carry a message as far as it comes. Raises Killed when that is not all the way."""
        piece = message[: self.left]
        self.left -= len(piece)
        self.carried += len(piece)
        take(FrameReader(), piece)
        self.listen()
        if len(piece) < len(message) or self.left == 0:
            self.left = UNLIMITED
            raise Killed

    def websocket(self) -> None:
        """Both sides say what they have."""
        for session in (self.pair.served, self.pair.node):
            other = self.pair.other(session)
            if message := session.outgoing(self.pair.now):
                self.pass_on(message, lambda reader, piece, to=other: self._take(to, reader, piece))  # type: ignore[misc]

    def polling(self) -> None:
        """A post with its answer, and a request for more with its."""
        if body := self.pair.node.outgoing(self.pair.now, most_frames=MAX_MESSAGE_FRAMES):
            self._until_whole(lambda: self._post(body))
        self._until_whole(self._poll)

    def _post(self, body: bytes) -> None:
        self.pass_on(body, lambda reader, piece: self._take(self.pair.served, reader, piece))
        answer = self.pair.served.take_ack()
        self.pass_on(answer, lambda reader, piece: self._take(self.pair.node, reader, piece))

    def _poll(self) -> None:
        self.pair.served.polled(self.pair.epoch, self.pair.node.take_poll(), self.pair.now)
        message = self.pair.served.outgoing(self.pair.now)
        if message:
            self.pass_on(message, lambda reader, piece: self._take(self.pair.node, reader, piece))

    def _until_whole(self, request: Callable[[], None]) -> None:
        try:
            request()
        except Killed:
            if not self.asks_again:
                raise
            request()

    def _take(self, session: Session, reader: FrameReader, piece: bytes) -> None:
        session.receive(self.pair.epoch, reader.feed(piece), self.pair.now)

    def listen(self) -> None:
        for session, name in ((self.pair.node, "call"), (self.pair.served, "answer")):
            for event in session.take_events():
                assert not isinstance(event, Lost | Over | Reset), event
                match event:
                    case Opened() if name == "call":
                        session.streams.answer(self.stream, b"its head")
                        self._write(session, "answer")
                    case Data(_, data):
                        self.received[name] += data
                        session.streams.consumed(self.stream, len(data))
                    case Ended():
                        assert name not in self.ended, "it ended twice"
                        self.ended.add(name)

    def switch(self) -> None:
        """The transport is gone, both learn of it, and another begins."""
        for session in (self.pair.node, self.pair.served):
            session.detach(self.pair.epoch, self.pair.now)
        before = self.pair.node, self.pair.served
        self.pair.connect()
        assert (self.pair.node, self.pair.served) == before, "the session was not resumed"


def play(first: str, second: str, left: int) -> Exchange:
    """Carry the exchange on the first transport until it is killed, and on the second from then on."""
    exchange = Exchange(left, asks_again=first == second)
    kind = first
    for _ in range(TURNS):
        exchange.pair.pass_time(TURN_S)
        try:
            getattr(exchange, kind)()
        except Killed:
            kind = second
            exchange.switch()
    return exchange


@pytest.mark.parametrize("first", ["websocket", "polling"])
@pytest.mark.parametrize("second", ["websocket", "polling"])
def test_N7_N15_a_kill_at_any_byte_costs_no_byte_and_doubles_none(first: str, second: str) -> None:
    untouched = play(first, second, UNLIMITED)
    assert untouched.is_over
    for left in range(1, untouched.carried + 1):
        exchange = play(first, second, left)
        assert exchange.is_over, f"killed after {left} bytes, it never ended"
        for name, body in exchange.bodies.items():
            received = hashlib.sha256(exchange.received[name]).digest()
            assert received == hashlib.sha256(body).digest(), f"killed after {left} bytes, another {name} came"
