from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.runs.replay import Replay
from shared.errors import Code, DomovoiError
from shared.runs import Ended, Started, Text
from shared.values import State

ANSWER = bytes(range(16))
END = Ended(State(state="done"), [])


async def numbers(replay: Replay, after: int) -> list[int]:
    return [int(frame.split(b"\n")[0].rpartition(b":")[2]) async for frame in replay.follow(after)]


async def test_S1_events_are_numbered_from_one() -> None:
    replay = Replay(ANSWER)
    for event in (Started("m", "e"), Text("a"), END):
        replay.append(event)
    assert await numbers(replay, 0) == [1, 2, 3]
    assert await numbers(replay, 2) == [3]
    assert await numbers(replay, 3) == []


@given(st.lists(st.sampled_from(["event", "first", "second"]), max_size=40), st.integers(1, 4))
def test_S3_watchers_that_come_and_go_see_each_event_once(steps: list[str], patience: int) -> None:
    async def play() -> None:
        replay = Replay(ANSWER)
        seen: dict[str, list[int]] = {"first": [], "second": []}
        for step in steps:
            if step == "event":
                replay.append(Text("x"))
                continue
            # The watcher takes a few events and is cut off.
            got = seen[step]
            until = min(replay.last, len(got) + patience)
            frames = replay.follow(len(got))
            while len(got) < until:
                got.append(int((await anext(frames)).split(b"\n")[0].rpartition(b":")[2]))
            await frames.aclose()
        replay.append(END)
        for got in seen.values():
            got.extend(await numbers(replay, len(got)))
            assert got == list(range(1, replay.last + 1))

    asyncio.run(play())


async def test_S4_the_oldest_events_go_first() -> None:
    replay = Replay(ANSWER, most_bytes=1000)
    for n in range(100):
        replay.append(Text(f"{n:03} " * 5))
    with pytest.raises(DomovoiError) as gone:
        replay.require(0)
    assert gone.value.code == Code.EVENTS_GONE
    replay.require(99)
    replay.append(END)
    assert await numbers(replay, 99) == [100, 101]


async def test_a_reader_that_is_too_slow_is_cut_off_and_holds_nobody_up() -> None:
    replay = Replay(ANSWER, most_bytes=1000)
    replay.append(Text("first"))
    slow = replay.follow(0)
    assert b"first" in await anext(slow)
    for _ in range(100):
        replay.append(Text("more " * 10))
    with pytest.raises(StopAsyncIteration):
        await anext(slow)


async def test_watchers_wake_up() -> None:
    replay = Replay(ANSWER)
    watchers = [asyncio.create_task(numbers(replay, 0)) for _ in range(3)]
    await asyncio.sleep(0)
    replay.append(Text("a"))
    await asyncio.sleep(0)
    replay.append(END)
    assert await asyncio.gather(*watchers) == [[1, 2]] * 3
