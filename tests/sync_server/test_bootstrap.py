"""Rules L16 and L17: the state by pages, beside the log that goes on."""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.change import CellKey, ConversationField, EntityType, MessageField, PulledChange, cell_key
from shared.limits import MAX_PULL_BYTES, MAX_VALUE_BYTES, SEGMENT_BYTES
from shared.segments import unpack_segment
from shared.wire import Bootstrapped
from tests.sync_server.device import MESSAGEPACK, Device, code_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sync_server.running_server import RunningServer

BOOTSTRAP = "/api/v1/sync/bootstrap"
Cells = dict[CellKey, PulledChange]


def page(device: Device, path: str = BOOTSTRAP, **query: object) -> Bootstrapped:
    response = device.request("GET", path, params=query, headers=MESSAGEPACK)
    assert response.status_code == 200, response.text
    return msgspec.msgpack.decode(response.content, type=Bootstrapped)


def pages(device: Device, path: str = BOOTSTRAP, limit: int = 500, **query: object) -> Iterator[Bootstrapped]:
    got = page(device, path, limit=limit, **query)
    yield got
    while got.after is not None:
        got = page(device, path, limit=limit, after=got.after, **query)
        yield got


def cells_in(got: Bootstrapped) -> list[PulledChange]:
    return [*got.changes, *(change for segment in got.segments for change in unpack_segment(segment))]


def conversation_id(number: int) -> bytes:
    """An id like a UUIDv7: the later one is greater."""
    return number.to_bytes(6, "big") + os.urandom(10)


def write_conversation(device: Device, number: int, messages: int) -> bytes:
    scope = conversation_id(number)
    changes = [
        device.change(b"\xa1t", etype=EntityType.CONVERSATION, eid=scope, field=ConversationField.TITLE, scope=scope)
    ]
    for _ in range(messages):
        eid = os.urandom(16)
        changes += [
            device.change(b"\xa1m", etype=EntityType.MESSAGE, eid=eid, field=field, scope=scope)
            for field in (MessageField.HEADER, MessageField.BODY)
        ]
    device.push(*changes)
    return scope


def pull_into(cells: Cells, device: Device, since: int) -> int:
    while True:
        pulled = device.pull(since, limit=7)
        cells.update((cell_key(change), change) for change in pulled.changes)
        since = pulled.changes[-1].seq if pulled.more else pulled.head
        if not pulled.more:
            return since


def test_L16_the_list_comes_first_and_the_newest_first(device: Device) -> None:
    scopes = [write_conversation(device, number, 3) for number in range(6)]
    seen = [change for got in pages(device, limit=5) for change in got.changes]
    assert [change.scope for change in seen[:6]] == scopes[::-1]
    assert {change.etype for change in seen[:6]} == {EntityType.CONVERSATION}
    messages = [change.scope for change in seen[6:]]
    assert messages == sorted(messages, reverse=True)
    assert len(seen) == len({cell_key(change) for change in seen}) == 6 * 7


def test_L16_pages_say_the_head_of_the_first_one(device: Device) -> None:
    write_conversation(device, 1, 3)
    first = page(device, limit=3)
    assert (first.epoch, first.head) == (device.epoch, 7)
    device.write()
    second = page(device, limit=3, after=first.after)
    assert second.head == 7


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_L16_bootstrap_and_pull_are_a_pull_from_the_beginning(
    shared_server: RunningServer, data: st.DataObject
) -> None:
    """While somebody writes between any two pages, overwriting cells on both sides of where the reader is."""
    device = shared_server.new_account(os.urandom(8).hex())
    entities = [(etype, os.urandom(16), os.urandom(16)) for etype in (1, 2, 2, 3, 3, 3, 3, 4, 9)]

    def write(count: int) -> None:
        changes = []
        for _ in range(count):
            etype, eid, scope = data.draw(st.sampled_from(entities))
            changes.append(device.change(os.urandom(3), etype=etype, eid=eid, scope=scope, field=data.draw(FIELDS)))
        if changes:
            device.push(*changes)

    write(data.draw(st.integers(0, 30)))
    cells: Cells = {}
    head = 0
    packed = data.draw(st.integers(0, 1))
    for number, got in enumerate(pages(device, limit=data.draw(st.integers(2, 9)), packed=packed)):
        head = got.head if number == 0 else head
        assert got.head == head
        # A page may be older than what a pull brought before it, so the greater clock wins.
        for change in cells_in(got):
            held = cells.get(cell_key(change))
            if held is None or held.clk < change.clk:
                cells[cell_key(change)] = change
        write(data.draw(st.integers(0, 4)))
    pull_into(cells, device, head)
    whole: Cells = {}
    pull_into(whole, device, 0)
    assert cells == whole


FIELDS = st.integers(1, 3)


def test_L23_packed_pages_hold_the_same_cells_in_the_same_order(device: Device) -> None:
    for number in range(3):
        write_conversation(device, number, 40)
    for _ in range(3):
        device.write(bytes(SEGMENT_BYTES), etype=EntityType.MESSAGE)
    plain = list(pages(device, limit=50))
    packed = list(pages(device, limit=50, packed=1))
    assert [cells_in(got) for got in packed] == [got.changes for got in plain]
    assert [bool(got.changes) for got in packed] == [True, *(False for _ in packed[1:])]
    segments = [unpack_segment(segment) for got in packed for segment in got.segments]
    assert all(len({change.scope for change in segment}) == 1 for segment in segments)
    # Each of the large ones ends its segment.
    assert max(sum(len(change.value) for change in segment[:-1]) for segment in segments) < SEGMENT_BYTES


def test_L17_one_conversation_alone(device: Device) -> None:
    scopes = [write_conversation(device, number, 4) for number in range(3)]
    path = f"/api/v1/sync/scopes/{scopes[1].hex()}"
    seen = [change for got in pages(device, path, limit=2) for change in got.changes]
    assert {change.scope for change in seen} == {scopes[1]}
    assert len({cell_key(change) for change in seen}) == len(seen) == 9
    assert page(device, f"/api/v1/sync/scopes/{bytes(16).hex()}").changes == []


def test_a_page_is_cut_by_bytes_and_always_gets_on(device: Device) -> None:
    count = MAX_PULL_BYTES // MAX_VALUE_BYTES + 2
    for etype in (EntityType.CONVERSATION, EntityType.MESSAGE):
        for _ in range(count):
            device.write(bytes(MAX_VALUE_BYTES), etype=etype)
    got = list(pages(device))
    assert [sum(len(change.value) for change in page.changes) <= MAX_PULL_BYTES for page in got] == [True] * len(got)
    assert sum(len(page.changes) for page in got) == 2 * count
    assert all(page.changes for page in got)


def test_another_accounts_cells_are_not_there(device: Device, stranger: Device) -> None:
    scope = write_conversation(stranger, 1, 1)
    assert page(device).changes == []
    assert page(device, f"/api/v1/sync/scopes/{scope.hex()}").changes == []


def test_a_token_of_another_history_is_refused(device: Device) -> None:
    write_conversation(device, 1, 3)
    token = page(device, limit=1).after
    assert token is not None
    wrong = msgspec.msgpack.decode(bytes_of(token))
    wrong[0] = wrong[0] % (2**32 - 1) + 1
    response = device.request("GET", BOOTSTRAP, params={"after": token_of(wrong)})
    assert code_of(response) == (410, "epoch_changed")


@pytest.mark.parametrize("after", ["x", "", "a" * 300, "AAAA", "%00", "kgEC"])
def test_what_is_no_token_is_refused(device: Device, after: str) -> None:
    assert code_of(device.request("GET", BOOTSTRAP, params={"after": after})) == (400, "bad_request")


def test_what_is_no_conversation_is_not_found(device: Device) -> None:
    assert code_of(device.request("GET", "/api/v1/sync/scopes/xyz")) == (404, "not_found")


def bytes_of(token: str) -> bytes:
    return urlsafe_b64decode(token)


def token_of(position: object) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode(position)).decode()
