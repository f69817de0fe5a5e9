from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from inference_node.engines.engine import EngineOptions
from inference_node.loading.fitting import LEAST_CONTEXT
from inference_node.loading.ways import fitting, room_for_one, smaller
from tests.inference_node.gguf_file import HEADER

BEST = EngineOptions(context=8192, slots=4)
GIB = 1024**3
# A gibibyte of weights, and a mebibyte of keys and values for every eight tokens.
LARGE = structs.replace(HEADER, context=32768, kv_width=64 * 1024, file_bytes=GIB)


def test_smaller_ways_end_with_the_least() -> None:
    ways = list(smaller(BEST))
    assert ways[-1] == EngineOptions(context=LEAST_CONTEXT, slots=1, cache="q8_0")
    assert list(smaller(ways[-1])) == []


def test_much_memory_gives_all_and_little_gives_less() -> None:
    assert fitting(LARGE, 64 * GIB, BEST) == BEST
    some = fitting(LARGE, 3 * GIB, BEST)
    assert (some.slots, some.cache) == (1, "f16")
    assert some.context == 8192
    little = fitting(LARGE, int(1.6 * GIB), BEST)
    assert little.context < 8192
    assert fitting(LARGE, 0, BEST) == EngineOptions(context=LEAST_CONTEXT, slots=1, cache="q8_0")


def test_a_model_with_little_context_of_its_own_has_all_that_it_can_use() -> None:
    assert fitting(structs.replace(LARGE, context=2048), 64 * GIB, BEST).context == 8192


def test_answers_at_once_leave_most_memory_to_others() -> None:
    assert fitting(LARGE, 10 * GIB, BEST).slots == 2


@given(st.integers(0, 64 * GIB), st.integers(0, 64 * GIB))
def test_more_memory_never_gives_less(one: int, other: int) -> None:
    less, more = (fitting(LARGE, free, BEST) for free in sorted((one, other)))
    assert (more.cache == "f16", more.context, more.slots) >= (less.cache == "f16", 0, 0)
    if less.cache == more.cache:
        assert (more.context, more.slots) >= (less.context, less.slots)


def test_with_room_for_one_the_context_is_whole() -> None:
    assert fitting(LARGE, room_for_one(LARGE, BEST) + 1, BEST).context == BEST.context
