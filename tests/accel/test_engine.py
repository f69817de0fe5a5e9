"""The engine in Rust through its Python door: what one answer says is nobody else's business."""

from __future__ import annotations

import gc
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import accel

# In the checkout `accel` alone is found as a namespace package even where nothing was built.
if importlib.util.find_spec("accel._native") is None:
    pytest.skip("accel is not built here: install Rust (cargo), then `make accel`", allow_module_level=True)

import accel

SLOTS = 8
# Far more than any answer here takes; a wait this long is a hang.
PATIENCE_S = 120.0
STORY = {"messages": [{"role": "user", "content": "Tell me a story about a house by the sea."}]}
LONG = "The house by the sea has a red door, a tall chimney and eleven rooms with a view. " * 40


def options(**given: int) -> bytes:
    return msgspec.json.encode({"context": 8192, "slots": SLOTS, "cache_bytes": 400_000_000} | given)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[accel.Engine]:
    loaded = accel.Engine(str(tiny_model), options(), None)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def real(default_test_model: Path) -> Iterator[accel.Engine]:
    """The engine with a model whose guesses come true."""
    loaded = accel.Engine(str(default_test_model), options(), None)
    yield loaded
    loaded.close()


def start(engine: accel.Engine, request: dict[str, Any], **sampling: float) -> accel.Generation:
    asked = {"sampling": {"seed": 7, "repeat_penalty": 1.1, "max_tokens": 40} | sampling}
    return engine.start(msgspec.json.encode(asked | request))


def read(generation: accel.Generation) -> list[dict[str, Any]]:
    """Return all events that are left."""
    events: list[dict[str, Any]] = []
    while (more := generation.next(PATIENCE_S)) != b"[]":
        assert more is not None
        events += msgspec.json.decode(more)
    return events


def text(events: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "piece")


def answer(engine: accel.Engine, request: dict[str, Any], **sampling: float) -> tuple[str, dict[str, Any]]:
    events = read(start(engine, request, **sampling))
    assert [event["type"] == "finished" for event in events] == [False] * (len(events) - 1) + [True]
    return text(events), events[-1]


def question(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"What is special about the number {number}?"}]}


def test_it_says_what_is_loaded(engine: accel.Engine) -> None:
    description = msgspec.json.decode(engine.description)
    assert description["architecture"] == "llama"
    assert description["quantisation"] == "Q8_0"
    assert (description["context"], description["slots"]) == (8192, SLOTS)


def test_loading_reports_bytes_and_ends_with_what_the_report_raises(tiny_model: Path) -> None:
    seen: list[tuple[int, int]] = []
    accel.Engine(str(tiny_model), options(), lambda done, total: seen.append((done, total))).close()
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0

    def refuse(done: int, total: int) -> None:
        raise KeyError(done)

    with pytest.raises(KeyError):
        accel.Engine(str(tiny_model), options(), refuse)


def test_a_seed_has_one_answer_whoever_else_is_answered(engine: accel.Engine) -> None:
    alone = answer(engine, STORY, temperature=0.9)
    others = [start(engine, question(number), temperature=0.9, seed=number) for number in range(4)]
    among = answer(engine, STORY, temperature=0.9)
    assert among[0] == alone[0]
    assert among[1]["completion_tokens"] == alone[1]["completion_tokens"]
    assert all(text(read(other)) for other in others)


def test_what_was_read_before_changes_nothing(engine: accel.Engine) -> None:
    first, last = answer(engine, STORY | {"owner": "reread"})
    assert last["cached_tokens"] == 0
    again, last = answer(engine, STORY | {"owner": "reread"})
    assert again == first
    assert last["cached_tokens"] == last["prompt_tokens"] - 1


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_guessing_ahead_changes_nothing(real: accel.Engine, temperature: float) -> None:
    copying = {"messages": [{"role": "user", "content": f"Repeat this word for word:\n{LONG[:400]}"}]}
    for request in (copying, STORY):
        with_it, without = (
            answer(real, request | {"speculate": guess}, temperature=temperature, max_tokens=60, repeat_penalty=1.0)
            for guess in (True, False)
        )
        assert with_it[0] == without[0]
        assert with_it[1]["completion_tokens"] == without[1]["completion_tokens"]


def test_the_next_turn_reads_only_what_is_new(engine: accel.Engine) -> None:
    turns = [{"role": "user", "content": LONG + "How many rooms has it?"}]
    said, first = answer(engine, {"messages": turns, "owner": "turns"}, temperature=0.0)
    turns += [{"role": "assistant", "content": said}, {"role": "user", "content": "And what colour is its door?"}]
    _, second = answer(engine, {"messages": turns, "owner": "turns"}, temperature=0.0)
    assert second["cached_tokens"] >= first["prompt_tokens"]
    _, foreign = answer(engine, {"messages": turns, "owner": "somebody else"}, temperature=0.0)
    assert foreign["cached_tokens"] == 0


def test_eight_chats_go_on_while_one_reader_stands_still(engine: accel.Engine) -> None:
    still = start(engine, STORY)
    with ThreadPoolExecutor(SLOTS - 1) as threads:
        answers = list(threads.map(lambda number: answer(engine, question(number)), range(SLOTS - 1)))
    assert all(said for said, _ in answers)
    assert text(read(still)) == answer(engine, STORY)[0]


def test_a_stop_ends_the_answer_and_frees_its_place(tiny_model: Path) -> None:
    single = accel.Engine(str(tiny_model), options(slots=1), None)
    generation = start(single, STORY, max_tokens=2000)
    said: list[dict[str, Any]] = []
    while not text(said):
        said += msgspec.json.decode(generation.next(PATIENCE_S) or b"[]")
    generation.stop()
    last = read(generation)[-1]
    assert last["reason"] == "stopped"
    assert last["completion_tokens"] < 2000
    # With one slot, whatever comes next needs its place; so it does when a generation is dropped or in the queue.
    dropped = start(single, STORY, max_tokens=2000)
    queued = start(single, STORY, max_tokens=2000)
    queued.stop()
    del dropped
    gc.collect()
    assert read(queued)[-1]["reason"] == "stopped"
    assert answer(single, STORY, max_tokens=3)[1]["completion_tokens"] == 3
    single.close()


def test_probabilities_are_those_of_scoring(real: accel.Engine) -> None:
    asked = "The capital of France is"
    events = read(start(real, {"text": asked, "logprobs": 2}, temperature=0.0, max_tokens=6, repeat_penalty=1.0))
    tokens = [token for event in events if event["type"] == "piece" for token in event["tokens"]]
    assert "".join(token["text"] for token in tokens) == text(events)
    prompt = real.tokenize(asked)
    scores = real.score(real.tokenize(asked + text(events)))
    assert scores[len(prompt) - 1 :] == pytest.approx([token["logprob"] for token in tokens], abs=5e-5)
    assert all(len(token["alternatives"]) == 2 for token in tokens)


def test_errors_have_their_types(engine: accel.Engine, tmp_path: Path) -> None:
    junk = tmp_path / "model.gguf"
    junk.write_bytes(b"This is not a model.")
    with pytest.raises(accel.Damaged):
        accel.Engine(str(junk), options(), None)
    with pytest.raises(accel.TooLong) as refused:
        start(engine, {"messages": [{"role": "user", "content": LONG * 10}]})
    assert refused.value.tokens > 8192
    for wrong in (b"", b"[1]", b'{"tempreature": 1}', b'{"text": "a", "schema": "{"}', b'{"text": ""}'):
        with pytest.raises(accel.BadRequest):
            engine.start(wrong)
    with pytest.raises(accel.BadRequest):
        engine.score([0, 2**32 - 1])
    with pytest.raises(accel.Unsupported):
        engine.embed("house")
    assert issubclass(accel.TooLong, accel.EngineError)


def test_too_little_memory_is_said_at_the_start(tiny_model: Path) -> None:
    with pytest.raises(accel.OutOfMemory):
        accel.Engine(str(tiny_model), options(cache_bytes=1000), None)


def test_a_closed_engine_fails_by_name(tiny_model: Path) -> None:
    closed = accel.Engine(str(tiny_model), options(), None)
    generation = start(closed, STORY, max_tokens=2000)
    closed.close()
    assert read(generation)[-1]["reason"] == "stopped"
    with pytest.raises(accel.Failed):
        start(closed, STORY)


def test_hundreds_of_answers_leave_no_memory_behind(tiny_model: Path) -> None:
    # So little cache that it is full before the count begins.
    small = accel.Engine(str(tiny_model), options(slots=2, cache_bytes=1_000_000), None)

    def run(numbers: range) -> int:
        for number in numbers:
            start(small, question(number) | {"owner": f"{number % 5}"}).stop()
            answer(small, question(number) | {"owner": f"{number % 5}", "stop": ["zebra"]}, max_tokens=2)
        gc.collect()
        return psutil.Process().memory_info().rss

    before = run(range(100))
    assert run(range(100, 400)) - before < 8_000_000
    small.close()
