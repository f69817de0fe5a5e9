"""Two sessions that were introduced to each other, and messages carried between them by hand."""

from __future__ import annotations

from shared.tunnel.events import Event, Over
from shared.tunnel.frames import Frame, decode, encode
from shared.tunnel.handshake import accept, hello, read_hello, settle
from shared.tunnel.session import Session
from shared.tunnel.table import Side

NAME = "0123456789abcdef0123456789abcdef"


class Pair:
    """A node's session and the server's; `now` is theirs."""

    def __init__(self) -> None:
        self.now = 100.0
        self.epoch = 0
        self.node = Session(NAME, Side.NODE, self.now)
        self.server: Session | None = None
        self.connect()

    @property
    def served(self) -> Session:
        """The server's session, which is there once the node was connected."""
        assert self.server is not None
        return self.server

    def connect(self) -> None:
        """Put both on a new transport."""
        self.epoch += 1
        greeting = next(decode(encode(hello(self.node, self.epoch, [], "token"))))
        accepted = accept(self.server, read_hello(greeting), self.now)
        assert accepted is not None
        self.server = accepted.session
        self.node = settle(self.node, self.node.identifier, self.epoch, accepted.welcome, self.now)

    def other(self, session: Session) -> Session:
        return self.served if session is self.node else self.node

    def message(self, session: Session) -> list[Frame]:
        """Return the frames of the session's next message."""
        return list(decode(session.outgoing(self.now)))

    def carry(self, session: Session) -> list[Event]:
        """Carry all that this side has to say, and return what happened at the other."""
        other = self.other(session)
        while message := session.outgoing(self.now):
            other.receive(self.epoch, decode(message), self.now)
        return other.take_events()

    def give(self, session: Session, *frames: Frame) -> list[Event]:
        """Hand frames that no peer sent to a session, and return what came of it."""
        session.receive(self.epoch, list(frames), self.now)
        return session.take_events()

    def open(self) -> int:
        """Return a stream of the server's that is open both ways."""
        number = self.served.streams.open(b"call")
        self.carry(self.served)
        self.node.streams.answer(number, b"head")
        self.carry(self.node)
        return number

    def pass_time(self, seconds: float) -> None:
        self.now += seconds


def over(events: list[Event]) -> Over:
    """Return the session's end out of what happened."""
    return next(event for event in events if isinstance(event, Over))
