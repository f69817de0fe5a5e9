"""What fits, and what is chosen: properties that hold on any machine with any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from inference_node.hardware.limits import Limits
from inference_node.hardware.memory import Memory
from inference_node.hardware.processor import Processor
from inference_node.hardware.survey import Hardware
from inference_node.loading.fitting import (
    CONTEXT_STEP,
    LEAST_CONTEXT,
    SPARED_SHARE,
    Candidate,
    Fit,
    choose,
    fit,
    threads,
)
from tests.inference_node.gguf_file import HEADER

if TYPE_CHECKING:
    from inference_node.gguf.header import GgufHeader

GIB = 1024**3

HEADERS = st.builds(
    lambda size, width, embedding, vocabulary, context: replace(
        HEADER, file_bytes=size, kv_width=width, embedding=embedding, vocabulary=vocabulary, context=context
    ),
    st.integers(1, 60 * GIB),
    st.integers(0, 200_000),
    st.integers(64, 16_384),
    st.integers(1, 300_000),
    st.sampled_from([0, 512, 2048, 8192, 131_072]) | st.integers(1, 200_000),
)
MEMORY = st.integers(0, 128 * GIB)
CONTEXTS = st.integers(256, 131_072)
SLOTS = st.integers(1, 8)
PROCESSORS = st.builds(
    lambda cores, smt, slow: Processor("Test", "x86_64", [], cores * smt, cores * smt, cores, min(slow, cores - 1)),
    st.integers(1, 64),
    st.integers(1, 2),
    st.integers(0, 16),
)
MACHINES = st.builds(
    lambda processor, cpus: Hardware("Test", processor, Memory(GIB, GIB), Limits(cpus=cpus), [], None, GIB),
    PROCESSORS,
    st.none() | st.floats(0.1, 64),
)
FITS = st.builds(fit, HEADERS, MEMORY)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from(["tensorrt", "cuda", "native", "llama_cpp"]),
        order=st.integers(0, 5),
        fit=FITS,
        problem=st.sampled_from(["", "no card"]),
        speed=st.none() | st.floats(0.1, 1000),
    ),
    max_size=5,
    unique_by=lambda candidate: candidate.name,
)


@given(HEADERS, MEMORY, CONTEXTS, SLOTS)
def test_what_fits_leaves_some_memory_free(header: GgufHeader, free: int, context: int, slots: int) -> None:
    fitted = fit(header, free, context, slots)
    if fitted.verdict == "too_large":
        assert (fitted.context, fitted.slots) == (0, 0)
    else:
        assert fitted.needed <= free * (1 - SPARED_SHARE) + 1
        assert 1 <= fitted.slots <= slots
        assert 0 < fitted.context <= context
        assert fitted.context <= (header.context or context)


@given(HEADERS, MEMORY, CONTEXTS, SLOTS)
def test_contexts_are_whole_steps_unless_the_model_has_less(
    header: GgufHeader, free: int, context: int, slots: int
) -> None:
    given_context = fit(header, free, context, slots).context
    assert given_context % CONTEXT_STEP == 0 or given_context == min(context, header.context) < CONTEXT_STEP


@given(HEADERS, MEMORY, MEMORY, CONTEXTS)
def test_more_memory_is_never_worse(header: GgufHeader, free: int, more: int, context: int) -> None:
    less, greater = fit(header, free, context), fit(header, free + more, context)
    ranks = ["too_large", "tight", "fits"]
    assert ranks.index(less.verdict) <= ranks.index(greater.verdict)
    assert less.context <= greater.context
    assert less.context * less.slots <= greater.context * greater.slots


@given(HEADERS, MEMORY)
def test_a_smaller_cache_is_never_worse(header: GgufHeader, free: int) -> None:
    assert fit(header, free).context <= fit(header, free, cache="q8_0").context


@given(HEADERS, MEMORY)
def test_what_fits_is_never_too_little_to_be_of_use(header: GgufHeader, free: int) -> None:
    fitted = fit(header, free)
    least = min(LEAST_CONTEXT, header.context or LEAST_CONTEXT)
    assert fitted.verdict == "too_large" or fitted.context > least - CONTEXT_STEP


def eight_billion() -> GgufHeader:
    # Llama 3.1 8B in Q4_K_M: 4.92 GB, 32 layers of 8 kv heads of 128.
    return replace(
        HEADER, file_bytes=4_920_000_000, kv_width=32 * 8 * 256, embedding=4096, vocabulary=128_256, context=131_072
    )


@pytest.mark.parametrize(
    ("free", "verdict"), [(4 * GIB, "too_large"), (6 * GIB, "tight"), (7 * GIB, "fits"), (11 * GIB, "fits")]
)
def test_an_8b_model_on_cards_of_several_sizes(free: int, verdict: str) -> None:
    assert fit(eight_billion(), free).verdict == verdict


def test_a_12_gb_card_holds_an_8b_model_with_four_chats() -> None:
    fitted = fit(eight_billion(), 11 * GIB)
    assert (fitted.context, fitted.slots) == (8192, 4)


@given(MACHINES)
def test_threads_are_never_more_than_the_fast_cores_allowed(hardware: Hardware) -> None:
    count = threads(hardware.processor, hardware.limits)
    processor = hardware.processor
    assert 1 <= count <= max(1, processor.cores - processor.efficient)
    assert hardware.limits.cpus is None or count <= max(1.0, hardware.limits.cpus)


def test_a_hybrid_processor_uses_its_fast_cores(machine: Hardware) -> None:
    assert threads(machine.processor, Limits()) == 6
    assert threads(machine.processor, Limits(cpus=2.5)) == 2
    assert threads(machine.processor, Limits(cpus=0.5)) == 1


@pytest.fixture
def machine() -> Hardware:
    processor = Processor("Test", "x86_64", [], 16, 16, 10, 4)
    return Hardware("Test", processor, Memory(GIB, GIB), Limits(), [], None, GIB)


@given(CANDIDATES, MACHINES)
def test_only_an_engine_that_can_run_it_is_chosen(candidates: list[Candidate], hardware: Hardware) -> None:
    able = {c.name: c for c in candidates if not c.problem and c.fit.verdict != "too_large"}
    choice = choose(candidates, hardware)
    assert (choice is None) == (not able)
    if choice is not None:
        chosen = able[choice.engine]
        assert (choice.context, choice.slots) == (chosen.fit.context, chosen.fit.slots)
        if all(c.speed is not None for c in able.values()):
            assert chosen.speed == max(c.speed or 0 for c in able.values())
        else:
            assert chosen.order == min(c.order for c in able.values())


@given(CANDIDATES, MACHINES, st.randoms())
def test_the_order_of_asking_does_not_matter(candidates: list[Candidate], hardware: Hardware, random: object) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(candidates, hardware) == choose(shuffled, hardware)


@given(CANDIDATES, MACHINES, FITS)
def test_an_engine_that_cannot_run_changes_nothing(candidates: list[Candidate], hardware: Hardware, room: Fit) -> None:
    broken = Candidate("broken", 0, room, problem="not installed", speed=10_000.0)
    assert choose([*candidates, broken], hardware) == choose(candidates, hardware)


@given(CANDIDATES, MACHINES)
def test_the_chosen_stays_chosen_when_it_gets_faster(candidates: list[Candidate], hardware: Hardware) -> None:
    choice = choose(candidates, hardware)
    chosen = choice.engine if choice else ""
    faster = [replace(c, speed=c.speed + 1) if c.name == chosen and c.speed is not None else c for c in candidates]
    again = choose(faster, hardware)
    assert (again.engine if again else "") == chosen
