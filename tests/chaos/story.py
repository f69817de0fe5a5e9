"""What happens in a run, drawn from its seed before it begins."""

from __future__ import annotations

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
ONE_REAL_OF = 10


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

    @property
    def is_real(self) -> bool:
        """Whether a real model answers, where there is one; what it will say, nobody knows."""
        return is_real(self.seed)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.script.words} words, at first {self.first}"]
        return "\n  ".join(lines + [str(strike) for strike in self.strikes])


def is_real(seed: int) -> bool:
    """Say whether a seed's question is for a real model."""
    return seed % ONE_REAL_OF == ONE_REAL_OF - 1


def draw(seed: int) -> Story:
    """Return the seed's story."""
    random = Random(seed)
    words = random.randint(2, MOST_WORDS)
    filling = random.randint(0, LONG_ANSWER_BYTES) // words if random.random() < 0.15 else 0
    strikes = sorted((_strike(random, words) for _ in range(random.randint(1, MOST_STRIKES))), key=lambda one: one.at)
    stops = sorted({strike.at for strike in strikes if strike.at != BEFORE_ASKING})
    script = Script(f"s{seed}", words, stops, random.choice([0.0, 0.001, 0.003]), filling)
    return Story(seed, script, random.choice(["direct", "direct", "relay"]), strikes)


def _strike(random: Random, words: int) -> Strike:
    (fault,) = random.choices(list(WEIGHTS), list(WEIGHTS.values()))
    is_before = random.random() < 0.2 and fault is not Fault.STOP
    at = BEFORE_ASKING if is_before else random.randrange(words)
    return Strike(fault, at, random.randint(1, MOST_CUT_BYTES), random.random() < 0.5)
