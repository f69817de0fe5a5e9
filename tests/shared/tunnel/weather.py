"""What the network does to a tunnel at the moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


class WebSockets(Enum):
    """What becomes of an attempt at a WebSocket."""

    OPEN = auto()
    REFUSED = auto()
    SWALLOWED = auto()
    CUT_AT_30_S = auto()
    CUT_AT_64_KB = auto()


class Accident(Enum):
    """What may happen to one message or request."""

    NONE = auto()
    # Cut at some byte, then the connection breaks.
    CUT = auto()
    # The connection breaks, and both ends learn of it.
    BROKEN = auto()
    # Nothing comes through any more, and nobody is told.
    BLACK = auto()
    LOST = auto()
    DOUBLED = auto()


@dataclass
class Weather:
    """Changes as time goes by; transports look at it whenever they carry something."""

    random: Random
    worst: float
    latency: float = 0.02
    accidents: float = 0.0
    is_up: bool = True
    is_unreachable: bool = False
    websockets: WebSockets = WebSockets.OPEN

    def delay(self) -> float:
        """Return how long the next message travels, in seconds."""
        return self.latency * self.random.uniform(1, 2)

    def accident(self) -> Accident:
        """Return what happens to the next message."""
        if self.random.random() >= self.accidents:
            return Accident.NONE
        return self.random.choice([kind for kind in Accident if kind is not Accident.NONE])

    def change(self) -> None:
        """Become another weather."""
        self.latency = self.random.choice((0.001, 0.02, 0.15, 0.4))
        self.accidents = self.worst * self.random.choice((0, 0, 0.05, 0.25, 1))
        self.websockets = self.random.choice([WebSockets.OPEN, WebSockets.OPEN, *WebSockets])
        self.is_up = self.random.random() < 0.85
        self.is_unreachable = self.random.random() < 0.5

    def clear(self) -> None:
        """Become fine, for good."""
        self.latency, self.accidents, self.is_up, self.websockets = 0.02, 0.0, True, WebSockets.OPEN
