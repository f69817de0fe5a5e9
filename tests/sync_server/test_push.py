from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from shared import clock, limits
from shared.canonical import FIRST_HASH
from shared.wire import Pushed
from tests.sync_server.device import Device, code_of

if TYPE_CHECKING:
    import pytest

    from shared.change import Change
    from tests.sync_server.running_server import SetAccount, StartServer


def test_L5_a_push_is_taken_and_pulled_back(device: Device) -> None:
    changes = [device.change(bytes([number])) for number in range(3)]
    pushed = device.push(*changes)
    assert (pushed.acked_dseq, pushed.head, pushed.rejected) == (3, 3, [])
    assert abs(pushed.server_ms - time.time() * 1000) < 60_000
    pulled = device.pull()
    assert [change.seq for change in pulled.changes] == [1, 2, 3]
    assert [msgspec.structs.asdict(c) | {"seq": 0} for c in pulled.changes] == [
        msgspec.structs.asdict(c) | {"seq": 0} for c in changes
    ]


def test_L3_unknown_entity_types_and_fields_are_kept(device: Device) -> None:
    device.write(b"\xc1 not even MessagePack", etype=65_535, field=65_535, kid=2**32 - 1)
    [change] = device.pull().changes
    assert (change.etype, change.field, change.kid, change.value) == (
        65_535,
        65_535,
        2**32 - 1,
        b"\xc1 not even MessagePack",
    )


def test_L8_a_gap_is_refused_with_the_last_dseq(device: Device) -> None:
    device.write()
    response = device.send(device.batch([device.change()], first_dseq=5))
    assert code_of(response) == (409, "sequence_gap")
    assert response.json()["last_dseq"] == 1
    assert device.pull().head == 1


def test_L8_another_hash_is_a_fork(device: Device) -> None:
    device.write()
    response = device.send(device.batch([device.change()], prev_hash=os.urandom(32)))
    assert code_of(response) == (409, "device_forked")


def test_L8_a_reused_dseq_is_a_fork(device: Device) -> None:
    device.write()
    response = device.send(device.batch([device.change()], first_dseq=1, prev_hash=FIRST_HASH))
    assert code_of(response) == (409, "device_forked")


def test_L8_a_batch_that_ends_before_the_last_dseq_is_a_fork(device: Device) -> None:
    changes = [device.change(), device.change()]
    device.push(*changes)
    response = device.send(device.batch(changes[:1], first_dseq=1, prev_hash=FIRST_HASH))
    assert code_of(response) == (409, "device_forked")


def test_L8_a_batch_may_overlap_what_is_acknowledged(device: Device) -> None:
    changes = [device.change(), device.change(), device.change()]
    device.push(*changes[:2])
    response = device.send(device.batch(changes, first_dseq=1, prev_hash=FIRST_HASH))
    assert msgspec.msgpack.decode(response.content, type=Pushed).acked_dseq == 3
    assert device.pull().head == 3


def test_L9_replayed_push_is_a_no_op(device: Device) -> None:
    batch = device.batch([device.change(), device.change()])
    first = device.send(batch)
    again = device.send(batch)
    assert first.status_code == again.status_code == 200
    answers = [msgspec.msgpack.decode(response.content, type=Pushed) for response in (first, again)]
    assert [(a.acked_dseq, a.head) for a in answers] == [(2, 2), (2, 2)]
    assert len(device.pull().changes) == 2


def test_L10_a_future_clock_ends_the_prefix(device: Device) -> None:
    future = clock.pack(int(time.time() * 1000) + 2 * limits.MAX_CLOCK_AHEAD_MS, 0, device.device_id)
    pushed = device.push(device.change(), device.change(clk=future), device.change())
    assert pushed.acked_dseq == 1
    assert [(refused.dseq, refused.code) for refused in pushed.rejected] == [(2, "clock_ahead")]
    assert device.pull().head == 1
    assert device.push(device.change(), device.change()).acked_dseq == 3


def test_C6_a_future_clock_at_once_is_a_problem_and_moves_nothing(device: Device) -> None:
    acknowledged = device.change()
    device.push(acknowledged)
    before = int(time.time() * 1000)
    future = device.change(clk=clock.pack(limits.MAX_CLOCK_MS, 0, device.device_id))
    response = device.send(device.batch([future, device.change()]))
    assert code_of(response) == (409, "clock_ahead")
    problem = response.json()
    assert problem["acked_dseq"] == 1
    assert problem["server_ms"] >= before
    assert device.pull().head == 1
    assert device.push(device.change()).acked_dseq == 2, "the same dseq with another clock is taken"


def test_C6_an_old_clock_is_never_refused(device: Device) -> None:
    assert device.push(device.change(clk=clock.pack(0, 0, device.device_id))).rejected == []


def test_L6_the_greater_clock_wins_whoever_comes_first(device: Device) -> None:
    other = device.sibling()
    eid = os.urandom(16)
    older, newer = device.change(b"\x01", eid=eid), other.change(b"\x02", eid=eid)
    assert newer.clk[:8] >= older.clk[:8]
    newer = msgspec.structs.replace(newer, clk=clock.tick(older.clk, 0, other.device_id))
    other.push(newer)
    pushed = device.push(older)
    assert (pushed.acked_dseq, pushed.head) == (1, 1), "a loser is acknowledged and not stored (L11)"
    assert [change.value for change in device.pull().changes] == [b"\x02"]


def test_L7_equal_clocks_take_the_greater_bytes_and_raise_an_alarm(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    clone = device.sibling()
    change = device.change(b"\x05")
    device.push(change)
    assert clone.push(msgspec.structs.replace(change, value=b"\x04")).head == 1
    assert clone.push(msgspec.structs.replace(change, value=b"\x06")).head == 2
    assert clone.push(msgspec.structs.replace(change, value=b"\x06")).head == 2, "the same change changes nothing"
    assert [stored.value for stored in device.pull().changes] == [b"\x06"]
    assert "a device was cloned" in caplog.text


def test_L11_winners_of_one_cell_within_a_batch_take_a_seq_each(device: Device) -> None:
    eid = os.urandom(16)
    pushed = device.push(*(device.change(bytes([n]), eid=eid) for n in range(3)))
    assert (pushed.acked_dseq, pushed.head) == (3, 3)
    assert [(change.seq, change.value) for change in device.pull().changes] == [(3, b"\x02")]


def test_L14_another_epoch_is_refused(device: Device) -> None:
    wrong = device.epoch % (2**32 - 1) + 1
    response = device.send(device.batch([device.change()], epoch=wrong))
    assert code_of(response) == (410, "epoch_changed")
    assert response.json()["epoch"] == device.epoch


def test_the_greatest_value_is_taken_and_a_greater_one_refused(device: Device) -> None:
    device.write(bytes(limits.MAX_VALUE_BYTES))
    assert device.pull().changes[0].value == bytes(limits.MAX_VALUE_BYTES)
    response = device.send(device.batch([device.change(bytes(limits.MAX_VALUE_BYTES + 1))]))
    assert code_of(response) == (400, "bad_request")


def test_a_push_has_at_most_500_changes(device: Device) -> None:
    changes = [device.change() for _ in range(limits.MAX_PUSH_CHANGES + 1)]
    assert code_of(device.send(device.batch(changes))) == (400, "bad_request")
    assert device.push(*changes[:-1]).acked_dseq == limits.MAX_PUSH_CHANGES


def test_a_push_has_at_most_one_mebibyte(device: Device) -> None:
    changes = [device.change(bytes(limits.MAX_VALUE_BYTES)) for _ in range(2)]
    assert code_of(device.send(device.batch(changes))) == (413, "body_too_large")
    assert device.pull().head == 0


def test_a_full_account_refuses_writing_but_not_deleting_or_pulling(device: Device, set_account: SetAccount) -> None:
    device.write(bytes(1000))
    set_account(device, quota_bytes=1500)
    pushed = device.push(device.change(bytes(100)), device.change(bytes(1000)))
    assert pushed.acked_dseq == 2
    assert [(refused.dseq, refused.code) for refused in pushed.rejected] == [(3, "quota_exceeded")]
    assert code_of(device.send(device.batch([device.change(bytes(1000))]))) == (507, "quota_exceeded")
    assert device.push(device.change(b"\xc3")).rejected == []
    assert len(device.pull().changes) == 3


def test_L12_concurrent_pushers_never_make_a_reader_skip(device: Device) -> None:
    writers = [device, *(device.sibling() for _ in range(3))]
    rounds, a_batch = 12, 5
    seen: set[bytes] = set()

    def write(writer: Device) -> list[bytes]:
        values = []
        for _ in range(rounds):
            changes = [writer.change(os.urandom(8)) for _ in range(a_batch)]
            assert writer.push(*changes).rejected == []
            values += [change.value for change in changes]
        return values

    reader = device.sibling()
    with ThreadPoolExecutor(len(writers)) as threads:
        running = [threads.submit(write, writer) for writer in writers]
        cursor = 0
        while True:
            is_last = all(future.done() for future in running)
            pulled = reader.pull(cursor)
            seen.update(change.value for change in pulled.changes)
            cursor = pulled.changes[-1].seq if pulled.more else pulled.head
            if is_last and not pulled.more:
                break
        written = {value for future in running for value in future.result()}
    assert seen == written
    assert cursor == len(writers) * rounds * a_batch, "sequence numbers have no gaps here: nobody lost"


def test_concurrent_writers_of_one_cell_agree(device: Device) -> None:
    writers = [device, *(device.sibling() for _ in range(3))]
    eid = os.urandom(16)

    def write(writer: Device) -> list[Change]:
        changes = []
        for _ in range(10):
            change = writer.change(os.urandom(4), eid=eid)
            writer.push(change)
            changes.append(change)
        return changes

    with ThreadPoolExecutor(len(writers)) as threads:
        written = [change for changes in threads.map(write, writers) for change in changes]
    [cell] = device.pull().changes
    winner = max(written, key=lambda change: change.clk)
    assert (cell.clk, cell.value) == (winner.clk, winner.value)


def test_accounts_with_the_same_ids_do_not_meet(device: Device, stranger: Device) -> None:
    change = device.change(b"\x01")
    device.push(change)
    stranger.push(msgspec.structs.replace(change, value=b"\x02"))
    assert [c.value for c in device.pull().changes] == [b"\x01"]
    assert [c.value for c in stranger.pull().changes] == [b"\x02"]
    assert (device.pull().head, stranger.pull().head) == (1, 1)


def test_a_revoked_device_may_not_push(device: Device) -> None:
    other = device.sibling()
    assert device.request("DELETE", f"/api/v1/devices/{other.session.device_id}").status_code == 204
    assert code_of(other.send(other.batch([other.change()]))) == (401, "device_revoked")


def test_a_push_survives_a_restart(start_server: StartServer) -> None:
    running = start_server()
    owner = running.first_account()
    change = owner.write(b"\x07")
    again = running.started_again()
    try:
        assert [c.value for c in owner.pull().changes] == [change.value]
        owner.write()
    finally:
        again.stop()
