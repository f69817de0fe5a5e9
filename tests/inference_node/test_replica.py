"""The replica and the outbox, held against shared/merge and shared/canonical."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node import clock
from inference_node.log import own_log, replica
from inference_node.log.database import Database
from inference_node.log.own_log import Own
from inference_node.log.replica import Write
from shared import clock as hybrid_clock
from shared import values
from shared.canonical import FIRST_HASH, fold_hashes
from shared.change import Change, EntityType, MessageField, PulledChange, cell_key
from shared.merge import merge
from tests.effort import examples
from tests.inference_node.running_node import new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiosqlite import Connection

ACCOUNT = bytes(16)
DEVICE = b"\x01" * 8
NOW_MS = 1_800_000_000_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "node.db")
    async with database.transaction() as connection:
        await replica.serve(connection, ACCOUNT, DEVICE, 0)
    yield database
    await database.close()


def field(text: str, eid: bytes = bytes(16)) -> Write:
    return Write(EntityType.MESSAGE, eid, MessageField.BODY, bytes(16), text)


def in_database(work: Callable[[Connection], Awaitable[None]]) -> None:
    """Run `work` in a fresh database: for Hypothesis, which takes no async tests."""

    async def play() -> None:
        database = await Database.open(Path(":memory:"))
        try:
            async with database.transaction() as connection:
                await replica.serve(connection, ACCOUNT, DEVICE, 0)
                await work(connection)
        finally:
            await database.close()

    asyncio.run(play())


async def all_cells(connection: Connection) -> dict[object, Change]:
    rows = await connection.execute_fetchall("SELECT * FROM cell WHERE account_id = ?", (ACCOUNT,))
    changes = [replica.to_change(row) for row in rows]
    return {cell_key(change): change for change in changes}


PULLED = st.builds(
    PulledChange,
    clk=st.builds(
        hybrid_clock.pack, st.integers(0, 3), st.integers(0, 1), st.sampled_from([bytes(8), DEVICE, b"\xff" * 8])
    ),
    etype=st.sampled_from([2, 3, 99]),
    eid=st.sampled_from([bytes(16), b"\x07" * 16]),
    field=st.integers(0, 2),
    scope=st.just(bytes(16)),
    kid=st.just(0),
    value=st.binary(max_size=3),
    seq=st.integers(1, 1000),
)


@examples(20)
@given(st.lists(PULLED, max_size=20), st.integers(0, 2**32))
def test_L6_pulled_in_any_order_gives_the_merged_cells(changes: list[PulledChange], seed: int) -> None:
    async def work(connection: Connection) -> None:
        shuffled = list(changes)
        random.Random(seed).shuffle(shuffled)
        for change in shuffled:
            await replica.apply_pulled(connection, ACCOUNT, [change])
        expected: dict[object, Change] = {}
        plain = [Change(*(getattr(change, name) for name in Change.__struct_fields__)) for change in changes]
        merge(expected, plain)  # type: ignore[arg-type]
        assert await all_cells(connection) == expected

    in_database(work)


@examples(20)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(1, 5))
def test_L5_the_outbox_carries_the_chain(batches: list[int], limit: int) -> None:
    async def work(connection: Connection) -> None:
        written: list[Change] = []
        for size in batches:
            written += await replica.write(connection, ACCOUNT, [field(f"{n}") for n in range(size)])
        assert [change.clk for change in written] == sorted({change.clk for change in written})
        chain = [FIRST_HASH, *fold_hashes(FIRST_HASH, 1, written)]
        pushed: list[Change] = []
        while (batch := await own_log.outbox(connection, ACCOUNT, limit, 10_000)) is not None:
            assert batch.first_dseq == len(pushed) + 1
            assert batch.prev_hash == chain[len(pushed)]
            assert 1 <= len(batch.changes) <= limit
            pushed += batch.changes
            await own_log.acknowledge(connection, ACCOUNT, len(pushed))
        assert pushed == written

    in_database(work)


async def test_a_batch_is_bounded_in_bytes_but_never_empty(database: Database) -> None:
    async with database.transaction() as connection:
        await replica.write(connection, ACCOUNT, [field("x" * 1000), field("y" * 10)])
        batch = await own_log.outbox(connection, ACCOUNT, 500, 100)
        assert batch is not None
        assert len(batch.changes) == 1


async def test_C2_own_clocks_follow_what_was_seen(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ms", lambda: NOW_MS)
    seen = PulledChange(hybrid_clock.pack(NOW_MS + 30_000, 5, b"\x02" * 8), 3, new_id(), 2, bytes(16), 0, b"", 9)
    async with database.transaction() as connection:
        await replica.apply_pulled(connection, ACCOUNT, [seen])
        (own,) = await replica.write(connection, ACCOUNT, [field("later")])
    assert own.clk > seen.clk
    assert hybrid_clock.device(own.clk) == DEVICE


async def test_C5_a_clock_far_ahead_does_not_drag_ours_along(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now_ms", lambda: NOW_MS)
    seen = PulledChange(hybrid_clock.pack(NOW_MS + 61_000, 0, b"\x02" * 8), 3, new_id(), 2, bytes(16), 0, b"", 9)
    async with database.transaction() as connection:
        await replica.apply_pulled(connection, ACCOUNT, [seen])
        (own,) = await replica.write(connection, ACCOUNT, [field("now")])
    assert hybrid_clock.milliseconds(own.clk) == NOW_MS


async def test_L15_a_write_that_is_rolled_back_leaves_nothing(database: Database) -> None:
    async def write_and_fail() -> None:
        async with database.transaction() as connection:
            await replica.write(connection, ACCOUNT, [field("never")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await write_and_fail()
    async with database.transaction() as connection:
        assert await own_log.outbox(connection, ACCOUNT, 500, 10_000) is None
        assert await all_cells(connection) == {}
        row = await replica.account(connection, ACCOUNT)
        assert row is not None
        assert row["last_clock"] == hybrid_clock.ZERO


async def test_C6_restamped_changes_win_where_the_old_ones_stood(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now_ms", lambda: NOW_MS + 600_000)
    async with database.transaction() as connection:
        await replica.write(connection, ACCOUNT, [field("one", b"\x01" * 16), field("two", b"\x02" * 16)])
        monkeypatch.setattr(clock, "now_ms", lambda: NOW_MS)
        stamped = await replica.restamp(connection, ACCOUNT, await own_log.waiting(connection, ACCOUNT))
        await own_log.replace_after(connection, ACCOUNT, 0, stamped)
        changes = [own.change for own in stamped]
        assert {hybrid_clock.milliseconds(change.clk) for change in changes} == {NOW_MS}
        assert [values.decode(change.value, str) for change in changes] == ["one", "two"]
        assert list((await all_cells(connection)).values()) == changes
        batch = await own_log.outbox(connection, ACCOUNT, 500, 10_000)
        assert batch is not None
        assert (batch.first_dseq, batch.prev_hash, batch.changes) == (1, FIRST_HASH, changes)


async def test_L8_a_new_device_begins_its_log_anew(database: Database) -> None:
    other = os.urandom(8)
    async with database.transaction() as connection:
        await replica.write(connection, ACCOUNT, [field("pushed")])
        await own_log.acknowledge(connection, ACCOUNT, 1)
        await replica.write(connection, ACCOUNT, [field("waiting")])
        await replica.serve(connection, ACCOUNT, other, 0)
        batch = await own_log.outbox(connection, ACCOUNT, 500, 10_000)
    assert batch is not None
    assert (batch.first_dseq, batch.prev_hash) == (1, FIRST_HASH)
    (change,) = batch.changes
    assert values.decode(change.value, str) == "waiting"
    assert hybrid_clock.device(change.clk) == other


async def test_L14_another_history_is_offered_what_it_lacks(database: Database) -> None:
    async with database.transaction() as connection:
        kept, lost = await replica.write(connection, ACCOUNT, [field("a", b"\x01" * 16), field("b", b"\x02" * 16)])
        await own_log.acknowledge(connection, ACCOUNT, 2)
        await replica.begin_history(connection, ACCOUNT)
        fields = {name: getattr(kept, name) for name in Change.__struct_fields__}
        await replica.apply_pulled(connection, ACCOUNT, [PulledChange(**fields, seq=1)])
        assert await replica.offer_missing(connection, ACCOUNT)
        assert await own_log.waiting(connection, ACCOUNT) == [Own(lost, is_offer=True)]
        assert not await replica.offer_missing(connection, ACCOUNT), "once after all was read"
        assert await own_log.waiting(connection, ACCOUNT) == [Own(lost, is_offer=True)]


async def test_L21_an_offer_keeps_its_clock_when_the_outbox_is_stamped_again(database: Database) -> None:
    """With a new one it would win over what others wrote after it. Found by the simulation."""
    async with database.transaction() as connection:
        old, lost = await replica.write(connection, ACCOUNT, [field("a", b"\x01" * 16), field("b", b"\x02" * 16)])
        await own_log.acknowledge(connection, ACCOUNT, 2)
        await replica.begin_history(connection, ACCOUNT)
        await replica.end_reading(connection, ACCOUNT, 2, 0)
        assert await replica.offer_missing(connection, ACCOUNT)
        await replica.write(connection, ACCOUNT, [field("new", b"\x03" * 16)])
        await replica.serve(connection, ACCOUNT, os.urandom(8), 0)
        waiting = await own_log.waiting(connection, ACCOUNT)
    assert [own.change for own in waiting[:2]] == [old, lost]
    assert [own.is_offer for own in waiting] == [True, True, False]
    assert hybrid_clock.device(waiting[2].change.clk) != DEVICE
