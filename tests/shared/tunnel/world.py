"""One world from a seed: a node, a server, streams between them, and weather; then what must hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.errors import DomovoiError
from shared.tunnel.machine import Kind, State
from tests.shared.tunnel.ends import End, NodeEnd, ServerEnd, Transport
from tests.shared.tunnel.polling_wire import PollingWire
from tests.shared.tunnel.talk import FINISHED
from tests.shared.tunnel.virtual import Virtual
from tests.shared.tunnel.weather import Weather
from tests.shared.tunnel.websocket_wire import WebSocketWire

if TYPE_CHECKING:
    from shared.tunnel.frames import Frame

STORMY_S = 150.0
# Long enough for the longest wait before a try, for the session's end after a minute, and for all that is left.
FINE_S = 300.0


@dataclass
class Outcome:
    """What a world was like, to see that the worlds are not all alike."""

    outcomes: Counter[str] = field(default_factory=Counter)
    transports: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)


class World:
    """`is_harsh`: the network may be away for longer than a session lives, and processes die."""

    def __init__(self, seed: int) -> None:
        self.virtual = Virtual(seed)
        self.random = self.virtual.random
        self.is_harsh = self.random.random() < 0.5
        self.weather = Weather(self.random, worst=0.2 if self.is_harsh else 0.05)
        self.server = ServerEnd(self.virtual)
        self.node = NodeEnd(self.virtual, self._connect)
        self.node.talker.other, self.server.talker.other = self.server.talker, self.node.talker
        self.outcome = Outcome()

    def _connect(self, kind: Kind, epoch: int, hello: Frame) -> Transport:
        self.outcome.transports[kind.name] += 1
        wire = WebSocketWire if kind is Kind.WEBSOCKET else PollingWire
        return wire(self.virtual, self.weather, self.node, self.server, epoch).connect(hello)

    def run(self) -> Outcome:
        """Live through the storm and the fine weather after it, and check."""
        self.node.start()
        stormy_until = self.virtual.now + STORMY_S
        while self.virtual.now < stormy_until:
            self.virtual.run(self.virtual.now + self.random.expovariate(1 / 2))
            self._happen()
        self.weather.clear()
        self.virtual.run(self.virtual.now + FINE_S)
        self._check()
        return self.outcome

    def _happen(self) -> None:
        chance = self.random.random()
        if chance < 0.6:
            self._open(self.server if chance < 0.45 else self.node)
        elif chance < 0.85:
            self.weather.change()
        elif chance < 0.92:
            self.node.act(self.node.machine.network_changed(self.virtual.now))
            self.node.step()
        elif self.is_harsh and chance < 0.94:
            self.random.choice((self.node, self.server)).crash()
        elif self.is_harsh and chance < 0.96:
            self.weather.is_up = False
            self.virtual.run(self.virtual.now + self.random.uniform(0, 150))
        if not self.is_harsh and not self.weather.is_up:
            # Within the time that a session outlives, with what a try takes afterwards.
            self.virtual.run(self.virtual.now + self.random.uniform(0, 5))
            self.weather.is_up = True

    def _open(self, end: End) -> None:
        if end.session is not None and end.session.is_attached:
            try:
                end.talker.open(end.session)
            except DomovoiError as error:
                self.outcome.outcomes[error.code] += 1
            end.step()

    def _check(self) -> None:
        mine, theirs = self.server.talker.book, self.node.talker.book
        for name in {*mine, *theirs}:
            views = [book[name] for book in (mine, theirs) if name in book]
            outcomes = {view.outcome for view in views}
            assert None not in outcomes, f"{name} never ended"
            if FINISHED in outcomes:
                assert len(views) == 2
                one, two = views
                assert (one.received, two.received) in {(len(two.sent), len(one.sent)), (one.received, two.received)}
            if len(outcomes) == 1 and FINISHED in outcomes:
                assert views[0].received == len(views[1].sent)
                assert views[1].received == len(views[0].sent)
            self.outcome.outcomes.update(str(outcome) for outcome in outcomes)
        for end in (self.node, self.server):
            self.outcome.ends.update(end.ends)
            assert end.session is not None
            assert len(end.session.streams) == 0
            assert end.session.held_bytes == 0
            assert end.session.streams.unconsumed == 0
        assert self.node.machine.state in {State.WS_UP, State.LP_UP}
        if not self.is_harsh:
            assert not self.outcome.ends, self.outcome.ends


def simulate(seed: int) -> Outcome:
    """Run one world."""
    return World(seed).run()
