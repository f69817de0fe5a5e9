"""`make chaos`: answers asked for while networks and processes fail; a failing run is named by its seed.

SEED= begins there, RUNS= says how many, HOUSES= in how many houses side by side; TELL=1 tells each run's story, and
KEEP_GOING=1 goes on after a failure, in a new house. Every tenth question is for the real default model.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from inference_node.accelerator import accelerated
from inference_node.models.models import ModelStore
from tests.chaos.house import House
from tests.chaos.run import Outcome, Violation, play
from tests.chaos.story import draw, is_real
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


async def run_all(seeds: range, houses: int, folder: Path, tally: Tally, model: Path | None = None) -> Tally:
    """Play the seeds' stories in so many houses, and return what has happened. With a model one more house has it."""
    scripted = iter([seed for seed in seeds if model is None or not is_real(seed)])
    real = iter([seed for seed in seeds if model is not None and is_real(seed)])
    async with asyncio.TaskGroup() as group:
        for number in range(houses):
            group.create_task(_keep_house(folder / str(number), None, scripted, tally))
        group.create_task(_keep_house(folder / "real", model, real, tally))
    return tally


async def _keep_house(folder: Path, model: Path | None, seeds: Iterator[int], tally: Tally) -> None:
    house: House | None = None
    try:
        for seed in seeds:
            if house is None:
                house = House(folder / f"from {seed}", model)
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
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run_all(range(first, first + runs), houses, Path(folder), tally, _model()))
    _say(f"{tally.table()}\n{len(tally.outcomes)} runs in {time.monotonic() - started:.0f} s")
    for seed, story in tally.failures:
        sys.stderr.write(f"{story}\nseed {seed} failed; once more: make chaos SEED={seed} RUNS=1\n")
    if not tally.failures:
        _say("no word lost, none doubled, one generation for each answer, and every run ended")
    return 1 if tally.failures else 0


def _model() -> Path | None:
    """Return the default model where an engine of ours can run it."""
    if not accelerated:
        return None
    return asyncio.run(ModelStore(CACHE).ensure_default())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
