"""Hypothesis strategies for the protocol's records."""

from __future__ import annotations

from hypothesis import strategies as st

from shared import clock
from shared.change import Change

ENTITY_IDS = st.binary(min_size=16, max_size=16)
# Few clocks, entities and fields, so that cells collide and clocks are equal.
CROWDED_CLOCKS = st.builds(
    clock.pack, st.integers(0, 3), st.integers(0, 1), st.sampled_from([bytes([n]) * 8 for n in (0, 1, 255)])
)
CROWDED_CHANGES = st.builds(
    Change,
    clk=CROWDED_CLOCKS,
    etype=st.sampled_from([2, 3, 999]),
    eid=st.sampled_from([bytes([n]) * 16 for n in (0, 1, 2)]),
    field=st.integers(0, 2),
    scope=st.sampled_from([bytes(16), b"\xff" * 16]),
    kid=st.integers(0, 1),
    value=st.binary(max_size=3),
)
CHANGES = st.builds(
    Change,
    clk=st.binary(min_size=16, max_size=16),
    etype=st.integers(0, 65535),
    eid=ENTITY_IDS,
    field=st.integers(0, 65535),
    scope=ENTITY_IDS,
    kid=st.integers(0, 2**32 - 1),
    value=st.binary(max_size=300),
)
