from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.runs.turns import Ticket, Turns
from shared.errors import Code, DomovoiError


def called(tickets: list[Ticket]) -> list[Ticket]:
    return [ticket for ticket in tickets if ticket.called.is_set()]


def test_one_at_a_time_in_order() -> None:
    turns = Turns()
    tickets = [turns.take("a") for _ in range(3)]
    for ticket in tickets:
        assert called(tickets)[-1] is ticket
        ticket.release()


def test_accounts_take_turns() -> None:
    turns = Turns()
    tickets = [turns.take(owner) for owner in "aaaabb"]
    order = []
    while waiting := [ticket for ticket in called(tickets) if ticket not in order]:
        order += waiting
        waiting[0].release()
    assert "".join(ticket.owner for ticket in order) == "aababa" or "".join(t.owner for t in order) == "ababaa"


def test_leaving_the_queue_lets_others_pass() -> None:
    turns = Turns()
    first, second, third = (turns.take("a") for _ in range(3))
    second.release()
    first.release()
    first.release()
    assert third.called.is_set()
    assert not second.called.is_set()


def test_a_full_queue_refuses() -> None:
    turns = Turns(most_waiting=3, most_waiting_each=2)
    for owner in ("a", "a", "a", "b"):
        turns.take(owner)
    with pytest.raises(DomovoiError) as refused:
        turns.take("a")
    assert refused.value.code == Code.ENGINE_BUSY
    with pytest.raises(DomovoiError):
        turns.take("c")


@given(st.lists(st.tuples(st.sampled_from(["take", "serve", "leave"]), st.integers(0, 3))))
def test_nobody_waits_longer_than_one_round(steps: list[tuple[str, int]]) -> None:
    turns = Turns(most_waiting=1000, most_waiting_each=1000)
    queue: deque[Ticket] = deque()
    current: Ticket | None = None
    served_since: dict[Ticket, list[str]] = {}
    for step, number in steps:
        if step == "take":
            ticket = turns.take(str(number))
            queue.append(ticket)
            served_since[ticket] = []
        elif step == "leave" and len(queue) > number:
            gone = queue[number]
            del queue[number]
            gone.release()
        elif current is not None:
            current.release()
        now = [ticket for ticket in queue if ticket.called.is_set()]
        assert len(now) <= 1
        if now:
            current = now[0]
            queue.remove(current)
            for ticket in queue:
                served_since[ticket].append(current.owner)
            first_of_owner = {ticket.owner: ticket for ticket in reversed(queue)}
            for ticket in first_of_owner.values():
                others = [owner for owner in served_since[ticket] if owner != ticket.owner]
                own = served_since[ticket].count(ticket.owner)
                # Between two turns of one account, another has at most one.
                assert all(others.count(owner) <= own + 1 for owner in others)


def test_several_at_once_and_no_more() -> None:
    turns = Turns(places=2)
    tickets = [turns.take("a") for _ in range(4)]
    assert called(tickets) == tickets[:2]
    tickets[1].release()
    assert called(tickets) == tickets[:3]


def test_who_has_fewest_turns_is_next() -> None:
    turns = Turns(places=3)
    first = [turns.take("a") for _ in range(5)]
    other = turns.take("b")
    assert called(first) == first[:3]
    first[0].release()
    assert other.called.is_set()
    assert called(first) == first[:3]


def test_more_places_call_those_who_wait() -> None:
    turns = Turns()
    tickets = [turns.take(owner) for owner in "abc"]
    turns.resize("", 3)
    assert called(tickets) == tickets
    turns.resize("", 1)
    tickets.append(turns.take("d"))
    for ticket in tickets[:2]:
        ticket.release()
    assert not tickets[3].called.is_set()
    tickets[2].release()
    assert tickets[3].called.is_set()
