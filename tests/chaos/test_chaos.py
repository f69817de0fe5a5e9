"""Answers asked for while networks and processes fail (rules S2, S3, Q2, Q5). `make chaos` runs a thousand."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.chaos.__main__ import Tally, run_all
from tests.chaos.faults import Fault
from tests.chaos.script import Script, spoken, word, words_in
from tests.chaos.story import draw
from tests.structure.tracked import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# A run takes about 0.4 s, most of it spent waiting.
RUNS = 500 if os.environ.get("DOMOVOI_SLOW_TESTS") else 50
HOUSES = 2


@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and 127.77.0.1 is ours, on Linux alone")
@pytest.mark.skipif(not (ROOT / "pwa" / "node_modules").exists(), reason="the app's packages are not installed")
async def test_S3_Q2_no_word_is_lost_or_doubled_and_every_run_ends(tmp_path: Path) -> None:
    tally = await run_all(range(RUNS), HOUSES, tmp_path, Tally())
    for seed, story in tally.failures:
        raise AssertionError(f"{story}\nonce more: make chaos SEED={seed} RUNS=1")
    assert len(tally.outcomes) == RUNS
    assert tally.errors == []


def test_a_seed_is_one_story() -> None:
    assert draw(42) == draw(42) != draw(43)


def test_stories_see_every_fault_and_both_routes() -> None:
    stories = [draw(seed) for seed in range(1000)]
    faults = Counter(strike.fault for story in stories for strike in story.strikes)
    assert set(faults) == set(Fault)
    assert min(faults.values()) >= 10
    assert {story.first for story in stories} == {"direct", "relay"}


def test_the_oracle_knows_a_lost_word_from_a_doubled_and_a_strange_one() -> None:
    script = Script("a run", words=20, filling=3)
    whole = spoken(script, "0123abcd", 20)
    assert words_in(script, whole) == 20
    assert words_in(script, spoken(script, "0123abcd", 7)) == 7
    assert words_in(script, "") == 0
    third = word(script, "0123abcd", 3)
    assert words_in(script, whole.replace(third, "", 1)) is None
    assert words_in(script, whole.replace(third, third * 2, 1)) is None
    assert words_in(script, whole.replace(third, word(script, "4567ef00", 3), 1)) is None
    assert words_in(script, whole[:-1]) is None
    assert words_in(script, f"{whole}!") is None
