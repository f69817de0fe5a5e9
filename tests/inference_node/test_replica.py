"""The replica and its outbox, against a server's rules played in memory."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node import replica
from inference_node.database import Database
from inference_node.replica import Write
from shared import clock, values
from shared.canonical import FIRST_HASH, fold_hashes
from shared.change import Change, EntityType, MessageField, PulledChange
from shared.limits import MAX_PUSH_BYTES, MAX_VALUE_BYTES
from shared.values import Request, State
from shared.wire import Pulled
from tests.inference_node.running_node import new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ACCOUNT, DEVICE, OTHER = b"a" * 16, b"d" * 8, b"e" * 8
NODE = b"n" * 16
NOW = 1_800_000_000_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(tmp_path / "node.db")
    await made.open()
    await made.transact(lambda c: replica.grant(c, {ACCOUNT: DEVICE}, NOW))
    yield made
    await made.close()


def body(text: str, answer: bytes | None = None, scope: bytes = b"s" * 16) -> Write:
    return Write(answer or new_id(), scope, MessageField.BODY, text)


def pulled(*changes: Change, first: int = 1, epoch: int = 1, more: bool = False) -> Pulled:
    rows = [
        PulledChange(c.clk, c.etype, c.eid, c.field, c.scope, c.kid, c.value, seq)
        for seq, c in enumerate(changes, first)
    ]
    return Pulled(epoch, first + len(rows) - 1, rows, more, NOW)


def change(field: MessageField, value: object, eid: bytes, ms: int = NOW, device: bytes = OTHER) -> Change:
    return Change(clock.pack(ms, 0, device), EntityType.MESSAGE, eid, field, b"s" * 16, 0, values.encode(value))


def account_in(connection: sqlite3.Connection) -> replica.Account:
    found = replica.find_account(connection, ACCOUNT)
    assert found is not None
    return found


class Chain:
    """What a server keeps of a device (L8)."""

    def __init__(self) -> None:
        self.dseq, self.hash = 0, FIRST_HASH
        self.taken: list[Change] = []

    def push(self, connection: sqlite3.Connection, take: int) -> int:
        """Take up to `take` new changes of the next push, as a server would; return what it acknowledges."""
        push = replica.next_push(connection, ACCOUNT)
        if push is None:
            return self.dseq
        assert push.first_dseq <= self.dseq + 1, "a gap"
        hashes = [push.prev_hash, *fold_hashes(push.prev_hash, push.first_dseq, push.changes)]
        assert hashes[self.dseq - push.first_dseq + 1] == self.hash, "a fork"
        new = push.changes[self.dseq - push.first_dseq + 1 :][:take]
        self.taken += new
        self.hash = hashes[self.dseq - push.first_dseq + 1 + len(new)]
        self.dseq += len(new)
        return self.dseq


@given(st.lists(st.tuples(st.sampled_from(["write", "push", "lost"]), st.integers(1, 4)), max_size=30))
def test_L5_L8_the_chain_holds_whatever_is_lost(steps: list[tuple[str, int]]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    from inference_node.database import _MIGRATIONS  # noqa: PLC0415

    connection.executescript(_MIGRATIONS[0])
    replica.grant(connection, {ACCOUNT: DEVICE}, NOW)
    replica.apply(connection, ACCOUNT, NODE, pulled(), NOW)
    server, written = Chain(), 0
    for kind, count in [*steps, ("push", 1000)]:
        if kind == "write":
            replica.write(connection, ACCOUNT, NODE, [body(str(n)) for n in range(count)], NOW)
            written += count
            continue
        push = replica.next_push(connection, ACCOUNT)
        acked = server.push(connection, count)
        if kind == "push" and push is not None:
            replica.acknowledge(connection, ACCOUNT, push, acked)
    assert server.dseq == written
    clocks = [taken.clk for taken in server.taken]
    assert clocks == sorted(set(clocks)), "C2: every clock is greater than the one before"
    connection.close()


async def test_L6_the_greater_clock_wins_in_any_order(database: Database) -> None:
    message = new_id()
    early, late = (change(MessageField.BODY, text, message, NOW + n) for n, text in enumerate(("early", "late")))
    header = change(MessageField.HEADER, values.Header("user"), message)
    for order in ((header, early, late), (late, early, header)):
        await database.transact(lambda c, order=order: replica.apply(c, ACCOUNT, NODE, pulled(*order), NOW))  # type: ignore[misc]
        messages = await database.transact(lambda c: replica.conversation(c, ACCOUNT, b"s" * 16))
        assert messages[message].body == "late"


async def test_L15_cursor_epoch_and_clock_move_with_the_page(database: Database) -> None:
    first = change(MessageField.BODY, "x", new_id(), NOW + 5000)
    await database.transact(lambda c: replica.apply(c, ACCOUNT, NODE, pulled(first, first=7, more=True), NOW))
    account = await database.transact(account_in)
    assert (account.cursor, account.epoch, account.clock) == (7, 1, first.clk)
    await database.transact(lambda c: replica.apply(c, ACCOUNT, NODE, Pulled(1, 20, [], False, NOW), NOW))
    assert (await database.transact(account_in)).cursor == 20
    (own,) = await database.transact(lambda c: replica.write(c, ACCOUNT, NODE, [body("mine")], NOW))
    assert own.clk > first.clk


async def test_C5_a_clock_from_the_future_does_not_drag_ours_along(database: Database) -> None:
    mad = change(MessageField.BODY, "x", new_id(), NOW + 10**9)
    await database.transact(lambda c: replica.apply(c, ACCOUNT, NODE, pulled(mad), NOW))
    (own,) = await database.transact(lambda c: replica.write(c, ACCOUNT, NODE, [body("mine")], NOW))
    assert clock.milliseconds(own.clk) == NOW


async def test_C6_what_is_refused_is_stamped_again(database: Database) -> None:
    future = NOW + 10**9
    answer = new_id()
    await database.transact(lambda c: replica.apply(c, ACCOUNT, NODE, pulled(), NOW))
    await database.transact(lambda c: replica.write(c, ACCOUNT, NODE, [body("a"), body("b", answer)], future))
    push = await database.transact(lambda c: replica.next_push(c, ACCOUNT))
    assert push is not None
    await database.transact(lambda c: replica.acknowledge(c, ACCOUNT, push, 1))
    await database.transact(lambda c: replica.restamp(c, ACCOUNT, NOW))
    again = await database.transact(lambda c: replica.next_push(c, ACCOUNT))
    assert again is not None
    assert again.first_dseq == 2
    assert [clock.milliseconds(c.clk) for c in again.changes] == [NOW]
    (own,) = await database.transact(lambda c: replica.write(c, ACCOUNT, NODE, [body("later", answer)], NOW))
    assert own.clk > again.changes[0].clk


async def test_another_device_id_starts_another_chain(database: Database) -> None:
    await database.transact(lambda c: replica.apply(c, ACCOUNT, NODE, pulled(), NOW))
    await database.transact(lambda c: replica.write(c, ACCOUNT, NODE, [body("a"), body("b")], NOW))
    push = await database.transact(lambda c: replica.next_push(c, ACCOUNT))
    assert push is not None
    await database.transact(lambda c: replica.acknowledge(c, ACCOUNT, push, 1))
    await database.transact(lambda c: replica.grant(c, {ACCOUNT: OTHER}, NOW))
    again = await database.transact(lambda c: replica.next_push(c, ACCOUNT))
    assert again is not None
    assert (again.first_dseq, again.prev_hash) == (1, FIRST_HASH)
    assert [clock.device(c.clk) for c in again.changes] == [OTHER]


async def test_a_push_fits_what_the_server_takes(database: Database) -> None:
    await database.transact(lambda c: replica.apply(c, ACCOUNT, NODE, pulled(), NOW))
    big = "x" * (MAX_VALUE_BYTES - 10)
    await database.transact(lambda c: replica.write(c, ACCOUNT, NODE, [body(big) for _ in range(4)], NOW))
    push = await database.transact(lambda c: replica.next_push(c, ACCOUNT))
    assert push is not None
    assert 0 < sum(len(c.value) for c in push.changes) < MAX_PUSH_BYTES


async def test_L14_nothing_is_pushed_before_the_history_is_known(database: Database) -> None:
    await database.transact(lambda c: replica.write(c, ACCOUNT, NODE, [body("a")], NOW))
    assert await database.transact(lambda c: replica.next_push(c, ACCOUNT)) is None
    await database.transact(lambda c: replica.apply(c, ACCOUNT, NODE, pulled(epoch=3), NOW))
    push = await database.transact(lambda c: replica.next_push(c, ACCOUNT))
    assert push is not None
    assert push.epoch == 3
    await database.transact(lambda c: replica.forget_cursor(c, ACCOUNT))
    account = await database.transact(account_in)
    assert (account.cursor, account.epoch) == (0, None)


async def test_open_requests_are_those_of_this_node_without_an_end(database: Database) -> None:
    mine, others, done = new_id(), new_id(), new_id()
    rows = [
        change(MessageField.REQUEST, Request(NODE), mine),
        change(MessageField.REQUEST, Request(b"x" * 16), others),
        change(MessageField.STATE, State("done"), done),
        change(MessageField.REQUEST, Request(NODE), done),
        change(MessageField.REQUEST, {"from": "the future"}, new_id()),
    ]
    await database.transact(lambda c: replica.apply(c, ACCOUNT, NODE, pulled(*rows), NOW))
    found = await database.transact(lambda c: replica.open_requests(c, ACCOUNT))
    assert [request.answer_id for request in found] == [mine]
    write = Write(mine, b"s" * 16, MessageField.STATE, State("running"))
    await database.transact(lambda c: replica.write(c, ACCOUNT, NODE, [write], NOW))
    assert len(await database.transact(lambda c: replica.open_requests(c, ACCOUNT))) == 1
    end = Write(mine, b"s" * 16, MessageField.STATE, State("stopped"))
    await database.transact(lambda c: replica.write(c, ACCOUNT, NODE, [end], NOW))
    assert await database.transact(lambda c: replica.open_requests(c, ACCOUNT)) == []


async def test_accounts_no_longer_granted_are_not_served_but_kept(database: Database) -> None:
    await database.transact(lambda c: replica.grant(c, {b"z" * 16: DEVICE}, NOW))
    served = await database.transact(replica.accounts)
    assert [account.account_id for account in served] == [b"z" * 16]
    await database.transact(account_in)
