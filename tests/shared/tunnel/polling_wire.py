"""Simulated long polling: requests that are lost, answered twice, overtaken, cut; sent again until answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tunnel.frames import Frame, FrameReader, decode, encode
from shared.tunnel.limits import MAX_MESSAGE_BYTES, MAX_MESSAGE_FRAMES, MAX_POSTS_IN_FLIGHT
from shared.tunnel.machine import Failure
from tests.shared.tunnel.weather import Accident, Weather

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shared.tunnel.ends import NodeEnd, ServerEnd
    from tests.shared.tunnel.virtual import Virtual

HELD_S = 25.0
TRIES = 4
TIMEOUT_S = 6.0
# The server's answer: bytes, or None for "another transport is newer".
Answer = bytes | None


class PollingWire:
    """The server's side; `PollingNode` is the other."""

    def __init__(self, virtual: Virtual, weather: Weather, node: NodeEnd, server: ServerEnd, epoch: int) -> None:
        self.virtual, self.weather, self.node, self.server, self.epoch = virtual, weather, node, server, epoch
        self._welcome: bytes | None = None
        self._held: Callable[[Answer], None] | None = None
        self._is_open = True

    def connect(self, hello: Frame) -> PollingNode:
        side = PollingNode(self)
        side.begin(encode(hello))
        return side

    # What the server answers.

    def greet(self, body: bytes, answer: Callable[[Answer], None]) -> None:
        if self._welcome is None:
            frames = list(FrameReader().feed(body))
            if not frames or not self._is_open or (welcome := self.server.greeted(frames[0], self)) is None:
                return answer(None)
            self._welcome = encode(welcome)
        answer(self._welcome)
        return self.server.step()

    def up(self, body: bytes, answer: Callable[[Answer], None]) -> None:
        session = self.server.session
        if self.server.carrier is not self or session is None:
            return answer(None)
        session.receive(self.epoch, FrameReader().feed(body), self.virtual.now)
        answer(session.take_ack())
        return self.server.step()

    def down(self, last_rx: int, answer: Callable[[Answer], None]) -> None:
        session = self.server.session
        if self.server.carrier is not self or session is None:
            return answer(None)
        self._answer(b"")
        session.polled(self.epoch, last_rx, self.virtual.now)
        self._held = answer
        self.virtual.after(HELD_S, lambda: self._answer(b"") if self._held is answer else None)
        return self.server.step()

    def flush(self) -> None:
        session = self.server.session
        if self._held is not None and session is not None and session.epoch == self.epoch:
            message = session.outgoing(self.virtual.now, MAX_MESSAGE_BYTES)
            if message:
                self._answer(message)

    def close(self) -> None:
        self._is_open = False
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        held, self._held = self._held, None
        if held is not None:
            held(body)

    # What happens on the way.

    def request(
        self,
        body: bytes,
        serve: Callable[[bytes, Callable[[Answer], None]], None],
        done: Callable[[Answer, bool], None],
        failed: Callable[[], None],
    ) -> None:
        """Carry a request and its answer. `done` gets the body and whether it is whole; at most one is called."""
        accident = self.weather.accident()
        waiting = [True]

        def once(action: Callable[[], None]) -> None:
            if waiting:
                waiting.clear()
                action()

        def answered(answer: Answer) -> None:
            on_way_back = self.weather.accident()
            if not self.weather.is_up or on_way_back in {Accident.LOST, Accident.BLACK, Accident.BROKEN}:
                return
            is_whole = on_way_back is not Accident.CUT or not answer
            part = answer if is_whole or not answer else answer[: self.virtual.random.randrange(len(answer))]
            self.virtual.after(self.weather.delay(), lambda: once(lambda: done(part, is_whole)))

        self.virtual.after(HELD_S + TIMEOUT_S if not body else TIMEOUT_S, lambda: once(failed))
        if not self.weather.is_up or accident in {Accident.LOST, Accident.BLACK}:
            return
        if accident is Accident.CUT:
            body = body[: self.virtual.random.randrange(len(body) + 1)]
            self.virtual.after(self.weather.delay(), lambda: serve(body, lambda _: None))
            self.virtual.after(2 * self.weather.delay(), lambda: once(failed))
            return
        for _ in range(2 if accident is Accident.DOUBLED else 1):
            self.virtual.after(self.weather.delay(), lambda: serve(body, answered))


class PollingNode:
    """Two posts at most, and one request for more."""

    def __init__(self, wire: PollingWire) -> None:
        self._wire = wire
        self._posts = 0
        self._is_open = True

    def begin(self, hello: bytes, tries: int = TRIES) -> None:
        def done(answer: Answer, is_whole: bool) -> None:
            if answer is None or not is_whole:
                self._fail(Failure.CLOSED)
            elif self._is_open:
                self._wire.node.welcomed(self._wire.epoch, next(decode(answer)))
                self._poll(TRIES)

        self._wire.request(
            hello, self._wire.greet, done, lambda: self._again(tries, lambda: self.begin(hello, tries - 1))
        )

    def flush(self) -> None:
        session = self._wire.node.session
        while self._is_open and self._posts < MAX_POSTS_IN_FLIGHT and session is not None:
            if session.epoch != self._wire.epoch:
                return
            if not (body := session.outgoing(self._wire.virtual.now, MAX_MESSAGE_BYTES, MAX_MESSAGE_FRAMES)):
                return
            self._posts += 1
            self._post(body, TRIES)

    def close(self) -> None:
        self._is_open = False

    def _post(self, body: bytes, tries: int) -> None:
        def done(answer: Answer, is_whole: bool) -> None:
            self._posts -= 1
            self._take(answer, is_whole, is_life=False)
            self.flush()

        again = lambda: self._again(tries, lambda: self._post(body, tries - 1))  # noqa: E731
        self._wire.request(body, self._wire.up, done, again)

    def _poll(self, tries: int) -> None:
        session = self._wire.node.session
        if not self._is_open or session is None or session.epoch != self._wire.epoch:
            return
        last_rx = session.take_poll()

        def done(answer: Answer, is_whole: bool) -> None:
            self._take(answer, is_whole)
            self._poll(TRIES)

        again = lambda: self._again(tries, lambda: self._poll(tries - 1))  # noqa: E731
        self._wire.request(b"", lambda _, answer: self._wire.down(last_rx, answer), done, again)

    def _take(self, answer: Answer, is_whole: bool, *, is_life: bool = True) -> None:
        session = self._wire.node.session
        if answer is None:
            self._fail(Failure.CLOSED)
        elif self._is_open and session is not None:
            frames = decode(answer) if is_whole else FrameReader().feed(answer)
            session.receive(self._wire.epoch, frames, self._wire.virtual.now, is_life=is_life)
            self._wire.node.step()

    def _again(self, tries: int, action: Callable[[], None]) -> None:
        if tries <= 1:
            self._fail(Failure.DEAD)
        elif self._is_open:
            action()

    def _fail(self, failure: Failure) -> None:
        if self._is_open:
            self._wire.node.failed(self._wire.epoch, failure)
