from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.change import CellKey, Change
from shared.merge import is_clone, merge, wins
from tests.shared.strategies import CROWDED_CHANGES


@given(st.lists(CROWDED_CHANGES, max_size=25), st.randoms(use_true_random=False), st.integers(1, 5))
def test_L6_any_order_duplication_and_batching_gives_the_same_cells(
    changes: list[Change], rng: object, batches: int
) -> None:
    at_once: dict[CellKey, Change] = {}
    merge(at_once, changes)
    shuffled = changes + changes[: len(changes) // 2]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # random.Random; Hypothesis types it as object
    piecemeal: dict[CellKey, Change] = {}
    size = max(1, len(shuffled) // batches)
    for start in range(0, len(shuffled), size):
        merge(piecemeal, shuffled[start : start + size])
    assert piecemeal == at_once


@given(CROWDED_CHANGES, CROWDED_CHANGES)
def test_L6_exactly_one_of_two_different_changes_wins(one: Change, other: Change) -> None:
    other = Change(one.clk, one.etype, one.eid, one.field, other.scope, other.kid, other.value)
    if one == other:
        assert not wins(one, other)
        assert not is_clone(one, other)
    else:
        assert wins(one, other) != wins(other, one)
        assert is_clone(one, other)


@given(st.lists(CROWDED_CHANGES, max_size=25))
def test_L9_merging_again_has_no_winners(changes: list[Change]) -> None:
    cells: dict[CellKey, Change] = {}
    merge(cells, changes)
    assert merge(cells, changes) == []
