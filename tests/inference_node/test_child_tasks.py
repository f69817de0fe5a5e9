from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.engines.child_tasks import ChildTask
from inference_node.engines.engine import Finished, Piece, PromptTooLong, Reading, ToolCallPiece
from inference_node.engines.messages import Failed, Report, TooLong
from shared.errors import Code, DomovoiError
from tests.effort import examples

END = Finished("end", 1, 1)
REPORTS = st.one_of(
    st.builds(Reading, st.integers(0, 9), st.just(9)),
    st.builds(Piece, st.text(max_size=3), st.integers(1, 3)),
    st.builds(ToolCallPiece, st.integers(0, 1), arguments=st.text(max_size=3)),
)


async def everything(task: ChildTask) -> list[Report]:
    found: list[Report] = []
    while not found or found[-1] is not END:
        found.append(await task.get())
    return found


def said(reports: list[Report]) -> tuple[str, int, list[str]]:
    pieces = [report for report in reports if isinstance(report, Piece)]
    calls = [report for report in reports if isinstance(report, ToolCallPiece)]
    arguments = ["".join(call.arguments for call in calls if call.index == index) for index in range(2)]
    return "".join(piece.text for piece in pieces), sum(piece.count for piece in pieces), arguments


@examples(30)
@given(st.lists(REPORTS))
async def test_a_slow_reader_gets_all_that_was_said_in_fewer_pieces(reports: list[Report]) -> None:
    task = ChildTask(1, 1.0)
    for report in [*reports, END]:
        task.put(report)
    found = await everything(task)
    assert said(found) == said(reports)
    kinds = [type(report) for report in found]
    assert all(kind is not other or kind is ToolCallPiece for kind, other in itertools.pairwise(kinds))


async def test_what_a_failed_task_has_said_comes_first() -> None:
    task = ChildTask(1, 1.0)
    task.put(Piece("Half a"))
    task.fail(DomovoiError(Code.ENGINE_FAILED))
    assert await task.get() == Piece("Half a")
    for _ in range(2):
        with pytest.raises(DomovoiError):
            await task.get()
    assert task.has_ended.is_set()


async def test_a_reader_that_gives_up_waiting_loses_nothing() -> None:
    task = ChildTask(1, 1.0)
    waiting = asyncio.create_task(task.get())
    await asyncio.sleep(0)
    task.put(Piece("Yes"))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    task.put(Piece(", indeed"))
    assert await task.get() == Piece("Yes, indeed", 2)


async def test_failures_are_raised_by_name() -> None:
    task = ChildTask(1, 1.0)
    task.put(TooLong(12))
    with pytest.raises(PromptTooLong) as long:
        await task.get()
    assert long.value.tokens == 12
    task.put(Failed(Code.BAD_REQUEST, "No schema."))
    with pytest.raises(DomovoiError) as refused:
        await task.get()
    assert (refused.value.code, refused.value.detail) == (Code.BAD_REQUEST, "No schema.")
