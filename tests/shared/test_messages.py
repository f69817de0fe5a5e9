from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared import clock, messages, values
from shared.change import Change, EntityType, MessageField
from shared.values import Header, State

CONVERSATION = bytes(15) + b"c"
DEVICE = b"\x01" * 8


def message_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


class Script:
    """Writes the cells of a conversation, each with a later clock."""

    def __init__(self) -> None:
        self.cells: list[Change] = []
        self._clock = clock.ZERO

    def write(self, number: int, field: MessageField, value: object) -> None:
        self._clock = clock.tick(self._clock, 1000, DEVICE)
        encoded = values.encode(value)
        self.cells.append(Change(self._clock, EntityType.MESSAGE, message_id(number), field, CONVERSATION, 0, encoded))

    def message(self, number: int, role: values.Role, parent: int | None, body: str = "") -> None:
        header = Header(role=role, parent=None if parent is None else message_id(parent))
        self.write(number, MessageField.HEADER, header)
        self.write(number, MessageField.BODY, body)

    def fold(self) -> dict[bytes, messages.Message]:
        return messages.fold(self.cells)


def shown(script: Script, leaf: int | None = None) -> list[int]:
    path = messages.active_path(script.fold(), None if leaf is None else message_id(leaf))
    return [int.from_bytes(message.id, "big") for message in path]


def dialogue() -> Script:
    """1 → 2 → 3 → 4, and 12 beside 2."""
    script = Script()
    script.message(1, "user", None, "Hello")
    script.message(2, "assistant", 1)
    script.message(3, "user", 2)
    script.message(4, "assistant", 3)
    script.message(12, "assistant", 1)
    return script


def test_M1_a_message_without_its_header_does_not_exist() -> None:
    script = Script()
    script.write(1, MessageField.BODY, "Hello")
    assert script.fold() == {}


def test_M2_a_message_waits_for_its_ancestors() -> None:
    script = Script()
    script.message(3, "user", 2)
    assert shown(script) == []
    assert messages.path_to(script.fold(), message_id(3)) is None


def test_M2_a_ring_of_parents_is_no_path() -> None:
    script = Script()
    script.message(1, "user", 2)
    script.message(2, "user", 1)
    assert messages.path_to(script.fold(), message_id(1)) is None


def test_M4_the_newest_branch_is_shown() -> None:
    assert shown(dialogue()) == [1, 12]


def test_M5_the_active_leaf_chooses_and_goes_on_to_the_newest_below() -> None:
    assert shown(dialogue(), leaf=2) == [1, 2, 3, 4]


def test_M5_a_deleted_or_missing_leaf_shows_the_newest() -> None:
    script = dialogue()
    script.write(3, MessageField.DELETED, True)
    assert shown(script, leaf=4) == [1, 12]
    assert shown(script, leaf=77) == [1, 12]


def test_M6_undo_brings_a_message_back() -> None:
    script = dialogue()
    script.write(3, MessageField.DELETED, True)
    script.write(3, MessageField.DELETED, False)
    assert shown(script, leaf=4) == [1, 2, 3, 4]


def test_Q3_an_answer_waits_for_the_one_before_it() -> None:
    script = dialogue()
    answer = message_id(4)
    assert not messages.is_runnable(script.fold(), script.fold()[answer])
    runnable = {"running": False, "failed": False, "interrupted": False, "done": True, "stopped": True}
    for state, expected in runnable.items():
        script.write(2, MessageField.STATE, State(state=state))  # type: ignore[arg-type]  # keys are states
        assert messages.is_runnable(script.fold(), script.fold()[answer]) is expected


def test_Q3_the_first_answer_waits_for_nothing() -> None:
    script = dialogue()
    assert messages.is_runnable(script.fold(), script.fold()[message_id(2)])


def test_V3_an_unreadable_value_counts_as_absent() -> None:
    script = Script()
    script.message(1, "user", None, "Hello")
    script.write(1, MessageField.BODY, 7)
    script.write(1, MessageField.STATE, "dreaming")
    message = messages.fold(messages_by_cell(script))[message_id(1)]
    assert (message.body, message.state) == ("", None)


def messages_by_cell(script: Script) -> list[Change]:
    return list({(cell.eid, cell.field): cell for cell in script.cells}.values())


@given(st.lists(st.tuples(st.integers(1, 8), st.one_of(st.none(), st.integers(1, 8))), max_size=20), st.integers(1, 8))
def test_M5_any_tree_gives_a_path_of_parents(links: list[tuple[int, int | None]], leaf: int) -> None:
    script = Script()
    for number, parent in links:
        script.message(number, "user", parent)
    folded = messages.fold(messages_by_cell(script))
    path = messages.active_path(folded, message_id(leaf))
    assert [m.header.parent for m in path[1:]] == [m.id for m in path[:-1]]
    assert not path or path[0].header.parent is None
