from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from shared.limits import MAX_PULL_BYTES, MAX_VALUE_BYTES
from shared.wire import Pulled
from tests.sync_server.device import Device, code_of

if TYPE_CHECKING:
    from tests.sync_server.running_server import SetAccount


def test_pages_join_without_gaps(device: Device) -> None:
    changes = [device.change(bytes([number])) for number in range(25)]
    device.push(*changes)
    cursor, values = 0, []
    while True:
        pulled = device.pull(cursor, limit=10, epoch=device.epoch)
        assert len(pulled.changes) <= 10
        values += [change.value for change in pulled.changes]
        if not pulled.more:
            break
        cursor = pulled.changes[-1].seq
    assert values == [change.value for change in changes]
    assert pulled.head == 25


def test_a_page_is_cut_by_bytes(device: Device) -> None:
    count = MAX_PULL_BYTES // MAX_VALUE_BYTES + 1
    for _ in range(count):
        device.write(bytes(MAX_VALUE_BYTES))
    first = device.pull()
    assert (len(first.changes), first.more) == (count - 1, True)
    second = device.pull(first.changes[-1].seq)
    assert (len(second.changes), second.more, second.head) == (1, False, count)


def test_L12_the_last_page_reaches_the_head_over_overwritten_changes(device: Device) -> None:
    eid = bytes(16)
    device.push(device.change(b"\x01", eid=eid), device.change(b"\x02"), device.change(b"\x03", eid=eid))
    pulled = device.pull(limit=1)
    assert (pulled.changes[0].seq, pulled.more) == (2, True)
    pulled = device.pull(2, limit=1)
    assert (pulled.changes[0].seq, pulled.more, pulled.head) == (3, False, 3)
    assert device.pull(3).changes == []


def test_L14_a_cursor_of_another_history_is_refused(device: Device) -> None:
    device.write()
    for query in ({"epoch": device.epoch % (2**32 - 1) + 1}, {"since": 2, "epoch": device.epoch}):
        response = device.request("GET", "/api/v1/sync/pull", params=query)
        assert code_of(response) == (410, "epoch_changed")
        assert response.json()["epoch"] == device.epoch


def test_a_cursor_of_an_unnamed_history_is_refused(device: Device) -> None:
    device.write()
    assert code_of(device.request("GET", "/api/v1/sync/pull?since=1")) == (400, "bad_request")


@pytest.mark.parametrize(
    "query", ["since=-1", "since=x", "since=1e3", "since=9007199254740992", "limit=0", "limit=1001", "epoch=4294967296"]
)
def test_numbers_out_of_range_are_refused(device: Device, query: str) -> None:
    assert code_of(device.request("GET", f"/api/v1/sync/pull?{query}")) == (400, "bad_request")


def test_a_cursor_below_the_floor_is_refused(device: Device, set_account: SetAccount) -> None:
    for _ in range(3):
        device.write()
    set_account(device, floor=2)
    assert code_of(device.request("GET", f"/api/v1/sync/pull?since=1&epoch={device.epoch}")) == (410, "history_trimmed")
    assert len(device.pull(0).changes) == 3, "from the beginning is always right"
    assert len(device.pull(2).changes) == 1


def test_a_large_page_is_compressed_for_whoever_takes_it(device: Device) -> None:
    device.push(*(device.change(b"the same words again and again " * 20) for _ in range(50)))
    sizes = {}
    for encoding in ("gzip", "identity"):
        headers = {"accept": "application/msgpack", "accept-encoding": encoding}
        response = device.request("GET", "/api/v1/sync/pull?since=0", headers=headers)
        assert len(msgspec.msgpack.decode(response.content, type=Pulled).changes) == 50
        assert response.headers.get("content-encoding", "identity") == encoding
        assert "accept-encoding" in response.headers["vary"] or encoding == "identity"
        sizes[encoding] = int(response.headers["content-length"])
    assert sizes["gzip"] * 4 < sizes["identity"]
