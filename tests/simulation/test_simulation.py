"""Many simulated worlds (rules C, L8-L21, Q9, Q10). `make simulate` runs ten thousand; a seed fails again."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from tests.simulation.world import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

# A run takes about 0.1 s of processor time.
RUNS = 2000 if os.environ.get("DOMOVOI_SLOW_TESTS") else 200
GROUPS = 10


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Crashes and forks are what this is about; warnings of them tell nothing."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("group", range(GROUPS))
def test_L10_L15_L21_nothing_is_lost_and_all_agree_whatever_happens(group: int) -> None:
    for seed in range(group, RUNS, GROUPS):
        try:
            simulate(seed)
        except Exception as error:
            raise AssertionError(f"once more: make simulate SEED={seed} RUNS=1") from error


def test_a_seed_is_one_world() -> None:
    assert simulate(42) == simulate(42) != simulate(43)
