"""Rule L20: what a device folds from what it pulled is what the server folds from its rows."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.change import CellKey, Change, cell_key
from shared.digest import digest
from shared.wire import Digest
from sync_server.log import digests
from tests.sync_server.device import MESSAGEPACK, Device
from tests.sync_server.test_purges import purge_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest


def asked(device: Device) -> Digest:
    response = device.request("GET", "/api/v1/sync/digest", headers=MESSAGEPACK)
    assert response.status_code == 200, response.text
    return msgspec.msgpack.decode(response.content, type=Digest)


def folded(cells: Iterable[Change]) -> tuple[int, bytes]:
    return digest((cell.clk, cell.etype, cell.eid, cell.field) for cell in cells)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 2)), max_size=30))
def test_L20_both_sides_fold_to_the_same(device: Device, writes: list[tuple[int, int, int]]) -> None:
    changes = [
        device.change(os.urandom(3), etype=etype, eid=bytes([entity]) * 16, scope=bytes([entity]) * 16, field=field)
        for etype, entity, field in writes
    ]
    if changes:
        device.push(*changes)
    pulled, server = device.pull(), asked(device)
    assert (server.epoch, server.head) == (pulled.epoch, pulled.head)
    assert (server.count, server.digest) == folded(pulled.changes)


def test_L20_tombstones_do_not_count_and_a_missing_or_stale_cell_shows(device: Device) -> None:
    empty = asked(device)
    assert (empty.count, empty.digest) == (0, bytes(32))
    device.push(purge_of(device, os.urandom(16)))
    assert (asked(device).count, asked(device).digest) == (0, bytes(32))
    device.push(device.change(eid=bytes(16)), device.change())
    stale = device.pull().changes
    device.write(eid=bytes(16))
    assert asked(device).digest != folded(stale)[1]
    assert asked(device).digest != folded(device.pull().changes[:-1])[1]


def test_L20_pages_join(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "PAGE", 2)
    for count in range(6):
        if count:
            device.write()
        assert (asked(device).count, asked(device).digest) == folded(device.pull().changes)


def test_L20_a_digest_is_of_one_moment_while_others_write(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "PAGE", 3)
    reader = device.sibling()
    cells: dict[CellKey, Change] = {}
    at_head = {0: digest(())}

    def write() -> None:
        for number in range(60):
            change = device.change(os.urandom(2), eid=bytes([number % 7]) * 16)
            device.push(change)
            cells[cell_key(change)] = change
            at_head[number + 1] = folded(cells.values())

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        seen = [asked(reader)]
        while not writing.done():
            seen.append(asked(reader))
        writing.result()
    assert len({got.head for got in seen}) > 1
    for got in seen:
        assert (got.count, got.digest) == at_head[got.head]
