"""What happens in a run, drawn from its seed before it begins."""

from __future__ import annotations

from enum import Enum, auto
from random import Random
from typing import Literal, NamedTuple

from tests.chaos.faults import WEIGHTS, Fault
from tests.chaos.script import Script

# Words at which an engine never stands.
BEFORE_ASKING = -1
MOST_STRIKES = 4
MOST_WORDS = 80
# Of an answer in all, so that some are more than a WebSocket may carry; a message may have 100,000 characters.
LONG_ANSWER_BYTES = 90_000
MOST_CUT_BYTES = 20_000
# Of so many seeds one is for a real model, and one for a database that can be killed.
ONE_OF = 10
DATABASE_WEIGHT = 60


class Strike(NamedTuple):
    """A fault before word `at` is said. `is_seen`: and after the phone has seen what was said before.

    `amount` is the n of the fault's name, if it has one.
    """

    fault: Fault
    at: int
    amount: int
    is_seen: bool

    def __str__(self) -> str:
        name = self.fault.replace(" n ", f" {self.amount} ")
        if self.at == BEFORE_ASKING:
            return f"before asking: {name}"
        return f"{'seen' if self.is_seen else 'said'} {self.at} words: {name}"


class Story(NamedTuple):
    """A run. `first` is the route by which the phone reaches the PC when it begins to ask."""

    seed: int
    script: Script
    first: Literal["direct", "relay"]
    strikes: list[Strike]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.script.words} words, at first {self.first}"]
        return "\n  ".join(lines + [str(strike) for strike in self.strikes])


class Kind(Enum):
    """What house a story is for, where there is one: any, one with a real model, or one whose database is a process."""

    PLAIN = auto()
    REAL = auto()
    MARIADB = auto()


def kind_of(seed: int) -> Kind:
    """Return what house a seed's story is for."""
    return {1: Kind.MARIADB, ONE_OF - 1: Kind.REAL}.get(seed % ONE_OF, Kind.PLAIN)


def draw(seed: int) -> Story:
    """Return the seed's story."""
    random = Random(seed)
    weights = WEIGHTS | ({Fault.DATABASE_KILLED: DATABASE_WEIGHT} if kind_of(seed) is Kind.MARIADB else {})
    words = random.randint(2, MOST_WORDS)
    filling = random.randint(0, LONG_ANSWER_BYTES) // words if random.random() < 0.15 else 0
    strikes = sorted(
        (_strike(random, weights, words) for _ in range(random.randint(1, MOST_STRIKES))), key=lambda one: one.at
    )
    stops = sorted({strike.at for strike in strikes if strike.at != BEFORE_ASKING})
    script = Script(f"s{seed}", words, stops, random.choice([0.0, 0.001, 0.003]), filling)
    return Story(seed, script, random.choice(["direct", "direct", "relay"]), strikes)


def _strike(random: Random, weights: dict[Fault, int], words: int) -> Strike:
    (fault,) = random.choices(list(weights), list(weights.values()))
    is_before = random.random() < 0.2 and fault is not Fault.STOP
    at = BEFORE_ASKING if is_before else random.randrange(words)
    return Strike(fault, at, random.randint(1, MOST_CUT_BYTES), random.random() < 0.5)
