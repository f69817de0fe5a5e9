from __future__ import annotations

import pytest

from inference_node.tunnel.sleep import SleepWatch


@pytest.mark.parametrize(
    ("passed", "slept"),
    [(2.0, False), (2.4, False), (6.9, False), (7.1, True), (3600.0, True), (-50.0, False)],
)
def test_N12_a_clock_that_jumped_ahead_was_a_sleep(passed: float, slept: bool) -> None:
    watch = SleepWatch(1000.0)
    assert watch.has_slept(1000.0 + passed) is slept
    assert not watch.has_slept(1002.0 + passed)
