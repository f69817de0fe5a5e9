"""Which messages are left out when a conversation is too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.context import without_oldest
from shared.errors import Code, DomovoiError
from shared.wire import PathMessage


def conversation(*lengths: int, system: bool = False) -> list[PathMessage]:
    turns = [PathMessage("user" if n % 2 == 0 else "assistant", "x" * length) for n, length in enumerate(lengths)]
    return [PathMessage("system", "s"), *turns] if system else turns


def test_the_oldest_go_and_the_rest_starts_with_a_user() -> None:
    messages = conversation(100, 100, 100, 100, 100)
    assert without_oldest(messages, 500, 100) == messages[2:]


def test_the_system_message_stays() -> None:
    messages = conversation(100, 100, 100, system=True)
    assert without_oldest(messages, 300, 150) == [messages[0], *messages[3:]]


@pytest.mark.parametrize("system", [True, False])
def test_a_last_message_alone_is_too_long(system: bool) -> None:
    with pytest.raises(DomovoiError) as refusal:
        without_oldest(conversation(1000, system=system), 1000, 1)
    assert refusal.value.code is Code.CONTEXT_TOO_LONG


@given(st.lists(st.integers(0, 500), min_size=2, max_size=20), st.integers(1, 2000), st.booleans())
def test_at_least_one_goes_and_the_last_stays(lengths: list[int], too_many: int, system: bool) -> None:
    messages = conversation(*lengths, system=system)
    left = without_oldest(messages, max(1, sum(lengths)), too_many)
    assert 0 < len(left) < len(messages)
    assert left[-1] is messages[-1]
    assert (left[0].role == "system") is system
