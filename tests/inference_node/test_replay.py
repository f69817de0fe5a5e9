"""Numbered events and their watchers."""

from __future__ import annotations

import asyncio

import pytest

from inference_node import replay
from inference_node.replay import Replay, TextEvents
from shared.errors import Code, DomovoiError
from shared.runs import Ended, Started, Text
from shared.values import State

ANSWER = bytes(15) + b"\x01"


async def numbers(log: Replay, after: int = 0) -> list[int]:
    """Return the numbers of the events that a watcher gets."""
    joined = b"".join([frames async for frames in log.watch(after)])
    return [int(line.rpartition(b":")[2]) for line in joined.splitlines() if line.startswith(b"id: ")]


def ended() -> Ended:
    return Ended(State("done"), [])


async def test_S3_every_watcher_gets_each_event_once() -> None:
    log = Replay(ANSWER)
    log.append(Started("m", "e"))
    watchers = [asyncio.create_task(numbers(log, after)) for after in (0, 1)]
    await asyncio.sleep(0)
    for text in "abc":
        log.append(Text(text))
        await asyncio.sleep(0)
    log.append(ended())
    assert await asyncio.gather(*watchers) == [[1, 2, 3, 4, 5], [2, 3, 4, 5]]
    assert await numbers(log, 5) == []


async def test_S4_older_events_go_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "REPLAY_BYTES", 1000)
    log = Replay(ANSWER)
    for _ in range(20):
        log.append(Text("x" * 100))
    log.append(ended())
    with pytest.raises(DomovoiError) as refusal:
        log.watch(0)
    assert refusal.value.code is Code.EVENTS_GONE
    assert (await numbers(log, 18))[-1] == 21


async def test_S4_the_last_event_stays_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "REPLAY_BYTES", 10)
    log = Replay(ANSWER)
    log.append(Text("a"))
    log.append(ended())
    assert await numbers(log, 1) == [2]


async def test_a_watcher_too_slow_ends_without_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "REPLAY_BYTES", 500)
    log = Replay(ANSWER)
    log.append(Text("a"))
    watching = log.watch(0)
    assert b":1\n" in await anext(watching)
    for _ in range(20):
        log.append(Text("x" * 100))
    assert [frames async for frames in watching] == []


async def test_the_first_piece_goes_at_once_and_the_next_together() -> None:
    emitted: list[str] = []
    has_more = asyncio.Event()

    def emit(text: str) -> None:
        emitted.append(text)
        if len(emitted) == 2:
            has_more.set()

    events = TextEvents(emit)
    events.add("a")
    assert emitted == ["a"]
    for piece in "bcd":
        events.add(piece)
    assert emitted == ["a"]
    async with asyncio.timeout(5):
        await has_more.wait()
    assert emitted == ["a", "bcd"]
    events.add("e")
    events.flush()
    assert "".join(emitted) == "abcde"
