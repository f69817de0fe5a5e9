"""`make chaos`: answers asked for while networks and processes fail; a failing run is named by its seed.

SEED= begins there, RUNS= says how many, HOUSES= in how many houses side by side; TELL=1 tells each run's story, and
KEEP_GOING=1 goes on after a failure, in a new house. Every tenth question is for the real default
model, and at every tenth the server's database is a process of its own, to be killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from inference_node.accelerator import accelerated
from inference_node.models.models import ModelStore
from tests.chaos.house import House
from tests.chaos.run import Outcome, Violation, play
from tests.chaos.story import Kind, draw, kind_of
from tests.mariadb import MariaDB, mariadbd_path
from tests.model import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_RUNS = 1000
DEFAULT_HOUSES = 3
SAY_EVERY = 50


@dataclass
class Tally:
    """What has happened in all runs. `failures` are seeds, and what went wrong."""

    is_telling: bool = False
    keeps_going: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    # What processes have logged as errors, in houses where no run failed.
    errors: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return bool(self.failures) and not self.keeps_going

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self.is_telling:
            _say(f"{outcome.seconds:.2f} s, {outcome.state}: {outcome.told}")
        elif len(self.outcomes) % SAY_EVERY == 0:
            _say(f"{len(self.outcomes)} runs")

    def table(self) -> str:
        """Return how often each fault struck, how answers ended and by which routes they came."""
        sections: dict[str, Counter[str]] = {
            "struck": Counter(str(fault) for outcome in self.outcomes for fault in outcome.struck),
            "ended": Counter(outcome.state for outcome in self.outcomes),
            "came by": Counter(" → ".join(outcome.routes) or "the log alone" for outcome in self.outcomes),
        }
        return "\n".join(
            f"{title if number == 0 else '':<10}{name:<40}{count:6}"
            for title, counter in sections.items()
            for number, (name, count) in enumerate(counter.most_common())
        )


@dataclass
class Furniture:
    """What some houses have: a real model, a database that is a process. Without it they are houses as any other."""

    model: Path | None = None
    database: MariaDB | None = None

    def for_kind(self, kind: Kind) -> Furniture:
        """Return what belongs into a house for such stories."""
        return Furniture(
            self.model if kind is Kind.REAL else None,
            self.database if kind is Kind.MARIADB else None,
        )


PLAIN = Furniture()


async def run_all(seeds: range, houses: int, folder: Path, tally: Tally, furniture: Furniture = PLAIN) -> Tally:
    """Play the seeds' stories in so many houses and one for each piece of furniture; return what has happened."""
    special = [kind for kind in Kind if furniture.for_kind(kind) != PLAIN]
    async with asyncio.TaskGroup() as group:
        for kind in special:
            own = iter([seed for seed in seeds if kind_of(seed) is kind])
            group.create_task(_keep_house(folder / kind.name, furniture.for_kind(kind), own, tally))
        others = iter([seed for seed in seeds if kind_of(seed) not in special])
        for number in range(houses):
            group.create_task(_keep_house(folder / str(number), PLAIN, others, tally))
    return tally


async def _keep_house(folder: Path, furniture: Furniture, seeds: Iterator[int], tally: Tally) -> None:
    house: House | None = None
    try:
        for seed in seeds:
            if house is None:
                house = House(folder / f"from {seed}", furniture.model, furniture.database)
                await house.start()
            try:
                tally.add(await play(house, draw(seed)))
            except Violation as violation:
                tally.failures.append((seed, f"{violation}\n{house.logs()}"))
                # What it has done to this house is not the next run's affair.
                await house.close()
                house = None
            if tally.is_over:
                return
    finally:
        if house is not None:
            tally.errors += house.errors()
            await house.close()


def main() -> int:
    """Return 1 if a run failed."""
    logging.disable(logging.WARNING)
    first = int(os.environ.get("SEED") or 0)
    runs = int(os.environ.get("RUNS") or DEFAULT_RUNS)
    houses = min(runs, int(os.environ.get("HOUSES") or DEFAULT_HOUSES))
    tally = Tally(bool(os.environ.get("TELL")), bool(os.environ.get("KEEP_GOING")))
    _say(f"{runs} runs from seed {first}, in {houses} houses")
    started = time.monotonic()
    seeds = range(first, first + runs)
    with tempfile.TemporaryDirectory() as folder, _furniture({kind_of(seed) for seed in seeds}) as furniture:
        asyncio.run(run_all(seeds, houses, Path(folder), tally, furniture))
    _say(f"{tally.table()}\n{len(tally.outcomes)} runs in {time.monotonic() - started:.0f} s")
    for seed, story in tally.failures:
        sys.stderr.write(f"{story}\nseed {seed} failed; once more: make chaos SEED={seed} RUNS=1\n")
    for error in tally.errors:
        sys.stderr.write(f"{error}\n")
    if not tally.failures and not tally.errors:
        _say("no word lost, none doubled, one generation for each answer, and every run ended")
    return 1 if tally.failures or tally.errors else 0


@contextmanager
def _furniture(kinds: set[Kind]) -> Iterator[Furniture]:
    """Get what these stories want, as far as it is to be had here."""
    furniture = Furniture()
    if Kind.REAL in kinds and accelerated:
        furniture.model = asyncio.run(ModelStore(CACHE).ensure_default())
    if Kind.MARIADB in kinds and mariadbd_path() is not None:
        furniture.database = MariaDB()
        furniture.database.start()
    try:
        yield furniture
    finally:
        if furniture.database is not None:
            furniture.database.remove()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
