"""Rules B1-B6: files by their content, in pieces, each account by itself."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import socket
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import values
from shared.change import AttachmentField, EntityType
from shared.limits import BLOB_ORPHAN_KEPT_S, BLOB_RESTORED_KEPT_S, MAX_BLOB_BYTES, MAX_BLOB_PIECE_BYTES
from shared.wire import BlobState, Usage
from sync_server import clock
from sync_server.blobs.blob_files import BlobFiles
from sync_server.blobs.blobs import Blobs
from sync_server.store.database import Database
from sync_server.store.dialect import dialect_for
from tests.sync_server.device import Device, code_of

if TYPE_CHECKING:
    import httpx

    from tests.sync_server.running_server import RunningServer, SetAccount


def path_of(content: bytes) -> str:
    return f"/api/v1/blobs/{hashlib.sha256(content).hexdigest()}"


def put(device: Device, content: bytes, piece: bytes, offset: int = 0) -> httpx.Response:
    query = {"offset": offset, "size": len(content)}
    return device.request("PUT", path_of(content), params=query, content=piece)


def state_of(response: httpx.Response) -> BlobState:
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=BlobState)


def used(device: Device) -> int:
    return msgspec.json.decode(device.request("GET", "/api/v1/usage").content, type=Usage).bytes_used


def collect(server: RunningServer, device: Device) -> int:
    """Do what housekeeping does for this account."""

    async def work() -> int:
        database = Database(dialect_for(server.settings.database_url, server.settings.data))
        await database.open()
        try:
            return await Blobs(database, BlobFiles(server.settings.data / "blobs")).collect(device.account_id)
        finally:
            await database.close()

    return asyncio.run(work())


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=4000), cuts=st.lists(st.integers(0, 4000), max_size=4))
def test_B2_B3_any_pieces_join_to_the_file(device: Device, content: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    for start, end in itertools.pairwise(places):
        assert state_of(put(device, content, content[start:end], start)) == BlobState(len(content), end)
        assert state_of(device.request("GET", path_of(content) + "/state")).received == end
    if not content:
        put(device, content, b"")
    response = device.request("GET", path_of(content))
    assert (response.status_code, response.content) == (200, content)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment"


def test_B2_a_piece_goes_on_where_the_file_ends_and_nowhere_else(device: Device) -> None:
    content = os.urandom(1000)
    put(device, content, content[:400])
    for offset in (0, 399, 401):
        response = put(device, content, content[offset : offset + 10], offset)
        assert code_of(response) == (409, "blob_offset")
        assert response.json()["received"] == 400
    assert state_of(put(device, content, content[400:], 400)).received == 1000


def test_B2_what_came_of_a_piece_that_was_cut_is_kept(device: Device, shared_server: RunningServer) -> None:
    content = os.urandom(500_000)
    head = (
        f"PUT {path_of(content)}?offset=0&size={len(content)} HTTP/1.1\r\nhost: localhost:{shared_server.port}\r\n"
        f"authorization: {device.bearer['authorization']}\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", shared_server.port)) as connection:
        connection.sendall(head.encode() + content[:300_000])
    received = 0
    while received != 300_000:
        response = device.request("GET", path_of(content) + "/state")
        received = response.json()["received"] if response.status_code == 200 else 0
    assert state_of(put(device, content, content[received:], received)).received == len(content)
    assert device.request("GET", path_of(content)).content == content


def test_B3_other_content_is_refused_and_begins_anew(device: Device) -> None:
    content = os.urandom(1000)
    put(device, content, content[:500])
    assert code_of(put(device, content, bytes(500), 500)) == (422, "blob_damaged")
    assert code_of(device.request("GET", path_of(content))) == (404, "not_found")
    assert state_of(device.request("GET", path_of(content) + "/state")).received == 0
    assert state_of(put(device, content, content)).received == 1000


def test_B3_half_a_file_can_not_be_read_and_a_range_of_a_whole_one_can(device: Device) -> None:
    content = os.urandom(1000)
    put(device, content, content[:999])
    assert code_of(device.request("GET", path_of(content))) == (404, "not_found")
    put(device, content, content[999:], 999)
    response = device.request("GET", path_of(content), headers={"range": "bytes=10-19"})
    assert (response.status_code, response.content) == (206, content[10:20])
    assert response.headers["content-range"] == "bytes 10-19/1000"


def test_B1_nobody_learns_what_another_account_has(device: Device, stranger: Device) -> None:
    content = os.urandom(1000)
    put(stranger, content, content)
    never = os.urandom(1000)
    for path in (path_of(content), path_of(content) + "/state"):
        theirs, nobodys = (
            device.request("GET", path.replace(path_of(content), path_of(asked))) for asked in (content, never)
        )
        assert theirs.json() == nobodys.json()
    assert state_of(put(device, content, content[:10])) == BlobState(1000, 10), "it must be sent whole all the same"
    assert used(device) == 1000
    put(device, content, content[10:], 10)
    assert device.request("GET", path_of(content)).content == content


def test_B4_the_quota_counts_a_file_from_its_first_piece(device: Device, set_account: SetAccount) -> None:
    set_account(device, quota_bytes=1500)
    content, more = os.urandom(1000), os.urandom(501)
    put(device, content, content[:1])
    assert used(device) == 1000
    assert code_of(put(device, more, more)) == (507, "quota_exceeded")
    put(device, content, content[1:], 1)
    assert used(device) == 1000
    assert code_of(device.send(device.batch([device.change(bytes(600))]))) == (507, "quota_exceeded")


def test_B4_who_names_a_smaller_size_frees_nothing(device: Device) -> None:
    whole, part = os.urandom(20_000), os.urandom(30_000)
    assert put(device, whole, whole).status_code == 200
    assert put(device, part, part[:-1]).status_code == 200
    before = used(device)
    for content in (whole, part):
        device.request("PUT", path_of(content), params={"offset": 0, "size": 0})
        assert used(device) == before
    assert state_of(device.request("GET", f"{path_of(whole)}/state")) == BlobState(len(whole), len(whole))
    assert device.request("GET", path_of(whole)).content == whole
    assert state_of(put(device, part, part[-1:], len(part) - 1)) == BlobState(len(part), len(part))


def test_B5_a_whole_file_sent_again_changes_nothing(device: Device) -> None:
    content = os.urandom(1000)
    put(device, content, content)
    for offset in (0, 500, 1000):
        assert state_of(put(device, content, content[offset:], offset)) == BlobState(1000, 1000)
    assert used(device) == 1000


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("offset=0", 400),
        ("size=4", 400),
        ("offset=-1&size=4", 400),
        ("offset=0&size=x", 400),
        ("offset=0&size=3", 400),
        (f"offset=0&size={MAX_BLOB_BYTES + 1}", 413),
    ],
)
def test_what_can_not_be_is_refused(device: Device, query: str, status: int) -> None:
    content = os.urandom(4)
    assert code_of(device.request("PUT", f"{path_of(content)}?{query}", content=content))[0] == status


def test_a_piece_is_bounded_and_a_name_is_a_hash(device: Device) -> None:
    content = bytes(MAX_BLOB_PIECE_BYTES + 1)
    assert code_of(put(device, content, content)) == (413, "body_too_large")
    for name in ("x", "00" * 31, "AA" * 32):
        assert code_of(device.request("PUT", f"/api/v1/blobs/{name}?offset=0&size=0"))[0] == 404


def test_B6_what_no_attachment_names_goes_after_a_week(
    device: Device, shared_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, orphan, half = os.urandom(100), os.urandom(200), os.urandom(300)
    for content in (kept, orphan):
        put(device, content, content)
    put(device, half, half[:1])
    name = values.encode(hashlib.sha256(kept).digest())
    device.write(name, etype=EntityType.ATTACHMENT, field=AttachmentField.BLOB)
    device.write(b"\xc1 unreadable", etype=EntityType.ATTACHMENT, field=AttachmentField.BLOB)
    before = used(device)
    assert collect(shared_server, device) == 0
    real = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: real() + BLOB_ORPHAN_KEPT_S * 1000 + 1000)
    assert collect(shared_server, device) == 2
    monkeypatch.undo()
    assert before - used(device) == 500
    assert device.request("GET", path_of(kept)).content == kept
    for content in (orphan, half):
        assert code_of(device.request("GET", path_of(content) + "/state")) == (404, "not_found")
    assert collect(shared_server, device) == 0


def test_B6_files_whose_rows_were_lost_with_a_backup_are_taken_up_again(
    device: Device, shared_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old: the devices that name them may not have been here yet."""
    files = BlobFiles(shared_server.settings.data / "blobs")
    sent, named, unnamed = (os.urandom(100) for _ in range(3))
    for each in (sent, named, unnamed):
        sha256 = hashlib.sha256(each).digest()
        files.write(device.account_id, sha256, 0, each)
        files.finish(device.account_id, sha256)
        path = files.whole(device.account_id, sha256)
        assert path is not None
        os.utime(path, (0, 0))
    assert state_of(put(device, sent, b"", 0)) == BlobState(100, 100)
    before = used(device)
    assert collect(shared_server, device) == 0
    assert used(device) - before == 200
    name = values.encode(hashlib.sha256(named).digest())
    device.write(name, etype=EntityType.ATTACHMENT, field=AttachmentField.BLOB)
    real = clock.now_ms
    # What somebody has sent since is nothing special; a name may come back for as long as a device counts as live.
    for kept_s in (BLOB_ORPHAN_KEPT_S, BLOB_RESTORED_KEPT_S):
        monkeypatch.setattr(clock, "now_ms", lambda kept_s=kept_s: real() + kept_s * 1000 + 1000)
        assert collect(shared_server, device) == 1
    monkeypatch.undo()
    assert device.request("GET", path_of(named)).content == named
    assert files.whole(device.account_id, hashlib.sha256(unnamed).digest()) is None
