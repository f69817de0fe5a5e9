from __future__ import annotations

import hashlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared import canonical
from shared.change import Change, PulledChange
from tests.shared.strategies import CHANGES


@given(st.integers(1, 2**53 - 1), CHANGES)
def test_L4_canonical_bytes_are_the_fields_in_order(dseq: int, change: Change) -> None:
    expected = (
        dseq.to_bytes(8, "big")
        + change.clk
        + change.etype.to_bytes(2, "big")
        + change.eid
        + change.field.to_bytes(2, "big")
        + change.scope
        + change.kid.to_bytes(4, "big")
        + len(change.value).to_bytes(4, "big")
        + change.value
    )
    assert canonical.canonical_bytes(dseq, change) == expected


@given(st.lists(CHANGES, max_size=6), st.integers(1, 1000), st.integers(0, 6))
def test_L5_folding_in_two_parts_is_folding_at_once(changes: list[Change], first: int, cut: int) -> None:
    whole = canonical.fold_hashes(canonical.FIRST_HASH, first, changes)
    head = canonical.fold_hashes(canonical.FIRST_HASH, first, changes[:cut])
    middle = head[-1] if head else canonical.FIRST_HASH
    assert head + canonical.fold_hashes(middle, first + len(head), changes[cut:]) == whole
    if changes:
        expected = hashlib.sha256(bytes(32) + canonical.canonical_bytes(first, changes[0])).digest()
        assert whole[0] == expected


@given(CHANGES.filter(lambda change: len(change.value) < 256))
def test_L2_a_change_costs_at_most_60_bytes_to_push_and_70_to_pull(change: Change) -> None:
    likely = msgspec.structs.replace(change, etype=3, field=2, kid=0)
    assert len(msgspec.msgpack.encode(likely)) - len(likely.value) <= 60
    pulled = msgspec.convert([*msgspec.structs.astuple(likely), 2**32 - 1], PulledChange)
    assert len(msgspec.msgpack.encode(pulled)) - len(likely.value) <= 70


@given(CHANGES)
def test_L2_readers_pass_over_further_elements(change: Change) -> None:
    longer = msgspec.msgpack.encode([*msgspec.structs.astuple(change), 7, {"later": True}])
    assert msgspec.msgpack.decode(longer, type=Change) == change
