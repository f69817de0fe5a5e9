from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.engines.engine import EngineOptions
from inference_node.loading.fitting import LEAST_CONTEXT
from inference_node.loading.ladder import MOST_FAILURES, Ladder
from shared.errors import Code, DomovoiError

BEST = EngineOptions(context=8192, slots=4)


def ladder(*engines: str) -> Ladder:
    return Ladder("Test", engines or ("native", "llama_cpp"), BEST)


def test_without_memory_less_is_tried_before_another_engine() -> None:
    way = ladder()
    steps = []
    while (step := way.failed(DomovoiError(Code.OUT_OF_MEMORY))) is not None:
        steps.append((step.engine, step.what, step.to))
    assert steps == [
        *(("native", "slots", "2"), ("native", "slots", "1"), ("native", "context", "4096")),
        *(("native", "context", "2048"), ("native", "cache", "q8_0"), ("native", "engine", "llama_cpp")),
        *(("llama_cpp", "slots", "2"), ("llama_cpp", "slots", "1"), ("llama_cpp", "context", "4096")),
        *(("llama_cpp", "context", "2048"), ("llama_cpp", "cache", "q8_0")),
    ]
    assert [(told.engine, told.what, told.to) for told in way.steps] == steps


@pytest.mark.parametrize("code", [Code.UNSUPPORTED, Code.MODEL_DAMAGED])
def test_what_an_engine_can_not_read_the_next_one_may(code: Code) -> None:
    way = ladder()
    step = way.failed(DomovoiError(code, "Unknown kind."))
    assert step is not None
    assert (step.engine, step.what, step.to, step.code, step.detail) == (
        *("native", "engine", "llama_cpp", code, "Unknown kind."),
    )
    assert (way.engine, way.options) == ("llama_cpp", BEST)
    assert way.failed(DomovoiError(code)) is None


def test_a_lone_crash_is_forgiven_and_a_loop_of_them_is_not() -> None:
    way = ladder()
    crash = DomovoiError(Code.ENGINE_FAILED)
    for _ in range(5):
        assert all(way.failed(crash) is None for _ in range(MOST_FAILURES - 1))
        way.worked()
    steps = [way.failed(crash) for _ in range(MOST_FAILURES)]
    assert [step.what for step in steps if step] == ["engine"]
    # With no other engine left, it is tried with less.
    steps = [way.failed(crash) for _ in range(MOST_FAILURES)]
    assert [step.what for step in steps if step] == ["slots"]


def test_what_no_other_way_would_spare_is_no_step() -> None:
    way = ladder()
    assert all(way.failed(DomovoiError(Code.MODEL_MISSING)) is None for _ in range(9))


def test_what_does_not_fit_is_told() -> None:
    way = ladder()
    assert way.fitted(BEST) == []
    steps = way.fitted(EngineOptions(context=3072, slots=1))
    assert [(step.what, step.to, step.code) for step in steps] == [
        ("context", "3072", "out_of_memory"),
    ]
    assert way.options == EngineOptions(context=3072, slots=1)


@given(st.lists(st.sampled_from([Code.OUT_OF_MEMORY, Code.ENGINE_FAILED, Code.UNSUPPORTED, Code.MODEL_DAMAGED])))
def test_the_way_down_has_an_end_and_never_leads_up(codes: list[Code]) -> None:
    way = ladder()
    before = (2, way.options)
    for code in codes:
        way.failed(DomovoiError(code))
        engines, options = (2 if way.engine == "native" else 1), way.options
        assert engines <= before[0]
        if engines == before[0]:
            assert options.slots <= before[1].slots
            assert LEAST_CONTEXT <= options.context <= before[1].context
        before = (engines, options)
    assert len(way.steps) <= 11
