"""The queue at the engine."""

from __future__ import annotations

import pytest

from inference_node.turns import MOST_WAITING, MOST_WAITING_OF_ONE, Turn, Turns
from shared.errors import Code, DomovoiError


def granted(turns: Turns, *asked: Turn) -> list[int]:
    """Let everybody have their turn; return the order."""
    order = []
    left = dict(enumerate(asked))
    while left:
        number = next(number for number, turn in left.items() if turns.is_current(turn))
        order.append(number)
        turns.leave(left.pop(number))
    return order


async def test_accounts_take_turns() -> None:
    turns = Turns()
    asked = [turns.ask(owner) for owner in (b"a", b"a", b"a", b"b", b"b", b"c")]
    assert granted(turns, *asked) == [0, 1, 3, 5, 2, 4]
    assert len(turns) == 0


async def test_a_place_given_up_is_not_granted() -> None:
    turns = Turns()
    first, second, third = (turns.ask(b"a") for _ in range(3))
    turns.leave(second)
    turns.leave(second)
    assert not await second.is_granted()
    assert granted(turns, first, third) == [0, 1]
    assert await third.is_granted()


async def test_the_queue_has_an_end() -> None:
    turns = Turns()
    for _ in range(MOST_WAITING_OF_ONE + 1):
        turns.ask(b"a")
    with pytest.raises(DomovoiError) as refusal:
        turns.ask(b"a")
    assert refusal.value.code is Code.ENGINE_BUSY
    for owner in range(MOST_WAITING - MOST_WAITING_OF_ONE - 1):
        turns.ask(bytes([owner]))
    with pytest.raises(DomovoiError):
        turns.ask(b"somebody else")


async def test_changes_are_told() -> None:
    lengths: list[int] = []
    turns = Turns(lambda: lengths.append(len(turns)))
    turn = turns.ask(b"a")
    turns.leave(turn)
    assert lengths == [1, 0]
