"""What is said through a simulated tunnel: streams with known bytes, and a book of what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.tunnel.events import Data, Ended, Event, Lost, Opened, Reset, Writable
from shared.tunnel.limits import SESSION_CREDIT_BYTES, STREAM_CREDIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.tunnel.session import Session
    from shared.tunnel.table import Side
    from tests.shared.tunnel.virtual import Virtual

# A stream's name on both sides: session, the epoch in which it began, number.
Name = tuple[str, int, int]
FINISHED = "finished"


@dataclass
class Entry:
    """One side's view of one stream."""

    session: Session
    number: int
    sent: bytearray = field(default_factory=bytearray)
    received: int = 0
    unconsumed: int = 0
    to_write: int = 0
    is_finished: bool = False
    has_peer_ended: bool = False
    outcome: str | None = None


class Talker:
    """Writes, reads, stalls and gives up by chance. `other` is the talker at the other end."""

    other: Talker

    def __init__(self, virtual: Virtual, side: Side, flush: Callable[[], None]) -> None:
        self.book: dict[Name, Entry] = {}
        self._virtual = virtual
        self._random = virtual.random
        self._side = side
        self._flush = flush

    def open(self, session: Session) -> None:
        """Begin a stream with a call of some length."""
        number = session.streams.open(b"call")
        self._start(session, number)

    def on_event(self, session: Session, event: Event) -> None:
        match event:
            case Opened(number, payload) if number % 2 != self._side:
                assert payload == b"call"
                session.streams.answer(number, b"head")
                self._start(session, number)
            case Opened(_, payload):
                assert payload == b"head"
            case Data(number, data):
                self._read(self._entry(session, number), data)
            case Ended(number):
                entry = self._entry(session, number)
                entry.has_peer_ended = True
                assert entry.received == len(self._twin(entry).sent), "an end before all bytes"
                self._finish_if_over(entry)
            case Reset(number, code):
                self._entry(session, number).outcome = f"reset: {code}"
            case Lost(number, end):
                self._entry(session, number).outcome = f"lost: {end}"
            case Writable(number):
                self._write(self._entry(session, number))
            case _:
                pass

    def crashed(self, session: Session) -> None:
        """This side's process is gone, with all it knew."""
        for entry in self.book.values():
            if entry.session is session and entry.outcome is None:
                entry.outcome = "lost: crash"

    def _name(self, entry: Entry) -> Name:
        return entry.session.identifier, entry.session.since, entry.number

    def _entry(self, session: Session, number: int) -> Entry:
        return self.book[session.identifier, session.since, number]

    def _twin(self, entry: Entry) -> Entry:
        return self.other.book[self._name(entry)]

    def _start(self, session: Session, number: int) -> None:
        entry = Entry(session, number)
        assert self.book.setdefault(self._name(entry), entry) is entry, "a stream that began twice"
        sizes = (0, 20, 2_000, 70_000, 400_000)
        entry.to_write = self._random.randint(0, self._random.choice(sizes))
        self._virtual.after(self._random.uniform(0, 0.1), lambda: self._write(entry))
        if self._random.random() < 0.15:
            self._virtual.after(self._random.uniform(0, 20), lambda: self._give_up(entry))

    def _write(self, entry: Entry) -> None:
        if entry.outcome is not None or entry.is_finished:
            return
        while entry.to_write:
            piece = self._random.randbytes(min(entry.to_write, self._random.choice((10, 300, 30_000, 90_000))))
            taken = entry.session.streams.write(entry.number, piece)
            entry.sent += piece[:taken]
            entry.to_write -= taken
            if taken < len(piece):
                break  # Writable comes
            if self._random.random() < 0.5:
                self._virtual.after(self._random.uniform(0, 0.5), lambda: self._write(entry))
                break
        else:
            entry.is_finished = True
            entry.session.streams.finish(entry.number)
            self._finish_if_over(entry)
        self._flush()

    def _read(self, entry: Entry, data: bytes) -> None:
        twin = self._twin(entry)
        assert twin.sent[entry.received : entry.received + len(data)] == data, "other bytes than were written"
        entry.received += len(data)
        entry.unconsumed += len(data)
        assert entry.unconsumed <= STREAM_CREDIT_BYTES
        assert entry.session.streams.unconsumed <= SESSION_CREDIT_BYTES
        slow = self._random.choice((0, 0, 0, 0.01, 0.3, 6)) * self._random.random()
        self._virtual.after(slow, lambda: self._consume(entry, len(data)))

    def _consume(self, entry: Entry, size: int) -> None:
        entry.unconsumed -= size
        entry.session.streams.consumed(entry.number, size)
        self._flush()

    def _give_up(self, entry: Entry) -> None:
        if entry.outcome is None:
            entry.outcome = "reset: mine"
            entry.session.streams.reset(entry.number, "mine")
            self._flush()

    def _finish_if_over(self, entry: Entry) -> None:
        if entry.is_finished and entry.has_peer_ended:
            entry.outcome = FINISHED
