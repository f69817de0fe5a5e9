from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from shared.limits import MAX_JSON_BODY_BYTES, MAX_PUSH_BYTES
from shared.wire import Devices, Session
from tests.sync_server.device import MESSAGEPACK, PASSWORD, Device, code_of

if TYPE_CHECKING:
    import httpx

    from tests.sync_server.running_server import RunningServer

JSON_TYPE = {"content-type": "application/json"}


def push_raw(device: Device, content: bytes, kind: str) -> httpx.Response:
    return device.request("POST", "/api/v1/sync/push", content=content, headers={"content-type": kind})


def test_W1_every_endpoint_speaks_messagepack(device: Device) -> None:
    body = {"username": device.session.username, "password": PASSWORD, "device_name": "Phone"}
    response = device.http.post("/api/v1/auth/login", content=msgspec.msgpack.encode(body), headers=MESSAGEPACK)
    assert response.headers["content-type"] == "application/msgpack"
    assert msgspec.msgpack.decode(response.content, type=Session).username == device.session.username
    listed = device.request("GET", "/api/v1/devices", headers=MESSAGEPACK)
    assert len(msgspec.msgpack.decode(listed.content, type=Devices).devices) >= 2


def test_W1_a_push_in_json_has_its_bytes_in_base64(device: Device) -> None:
    batch = device.batch([device.change(b"\x00\xff")])
    response = push_raw(device, msgspec.json.encode(batch), "application/json; charset=utf-8")
    assert response.json()["acked_dseq"] == 1
    assert device.pull().changes[0].value == b"\x00\xff"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"username": "\xff"}',
        b'{"username": "\\ud800", "password": "x", "device_name": "y"}',
        b'{"username": 1, "password": [], "device_name": {}}',
        b'{"username": "a", "password": "b"}',
        b'{"username": NaN, "password": 1e400, "device_name": 1}',
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b"9" * 60_000,
    ],
)
def test_malformed_json_is_a_bad_request(shared_server: RunningServer, content: bytes) -> None:
    response = shared_server.client().post("/api/v1/auth/login", content=content, headers=JSON_TYPE)
    assert code_of(response) == (400, "bad_request")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        b"\x84",
        b"\x91" * 60_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x81\xa5epoch\xa1\xff",
        msgspec.msgpack.encode({"epoch": 1, "first_dseq": 0, "prev_hash": bytes(32), "changes": []}),
        msgspec.msgpack.encode({"epoch": 1, "first_dseq": 1, "prev_hash": bytes(31), "changes": [[]]}),
        msgspec.msgpack.encode({"epoch": -1, "first_dseq": 2**53, "prev_hash": "text", "changes": {}}),
    ],
)
def test_malformed_messagepack_is_a_bad_request(device: Device, content: bytes) -> None:
    assert code_of(push_raw(device, content, "application/msgpack")) == (400, "bad_request")


def test_a_wrong_type_in_any_field_of_a_change_is_a_bad_request(device: Device) -> None:
    good = msgspec.to_builtins(device.change(), builtin_types=(bytes,))
    for place in range(len(good)):
        wrong: object
        for wrong in (None, "text", -1, 1.5, [], {}, bytes(17), 2**64 - 1):
            change = [*good[:place], wrong, *good[place + 1 :]]
            if place == len(good) - 1 and wrong == bytes(17):
                continue
            batch = {"epoch": device.epoch, "first_dseq": 1, "prev_hash": bytes(32), "changes": [change]}
            response = push_raw(device, msgspec.msgpack.encode(batch), "application/msgpack")
            assert code_of(response) == (400, "bad_request"), (place, wrong)
    assert device.pull().head == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_content_types_are_not_spoken(device: Device, kind: str) -> None:
    assert code_of(push_raw(device, b"{}", kind)) == (415, "unsupported_media_type")


def test_compressed_bodies_are_not_spoken(device: Device) -> None:
    headers = {**JSON_TYPE, "content-encoding": "gzip"}
    response = device.request("POST", "/api/v1/sync/push", content=b"\x1f\x8b", headers=headers)
    assert code_of(response) == (415, "unsupported_media_type")


def test_oversized_bodies_are_refused_declared_or_not(device: Device) -> None:
    assert code_of(push_raw(device, bytes(MAX_PUSH_BYTES + 1), "application/msgpack")) == (413, "body_too_large")

    def endless() -> object:
        for _ in range(MAX_PUSH_BYTES // 65_536 + 2):
            yield bytes(65_536)

    headers = {"content-type": "application/msgpack"}
    streamed = device.request("POST", "/api/v1/sync/push", content=endless(), headers=headers)
    assert code_of(streamed) == (413, "body_too_large")
    big = {"username": "x" * MAX_JSON_BODY_BYTES, "password": PASSWORD, "device_name": "x"}
    assert code_of(device.http.post("/api/v1/auth/login", json=big)) == (413, "body_too_large")


def test_a_body_cut_short_at_any_byte_changes_nothing(device: Device) -> None:
    content = msgspec.msgpack.encode(device.batch([device.change()]))
    head = (
        f"POST /api/v1/sync/push HTTP/1.1\r\nhost: localhost:{device.http.base_url.port}\r\n"
        f"authorization: {device.bearer['authorization']}\r\n"
        f"content-type: application/msgpack\r\ncontent-length: {len(content)}\r\n\r\n"
    ).encode()
    for size in range(0, len(head) + len(content), 37):
        with socket.create_connection(("127.0.0.1", device.http.base_url.port or 0)) as connection:
            connection.sendall((head + content)[:size])
    assert device.pull().head == 0
    assert device.push(device.change()).acked_dseq == 1


def test_unknown_members_are_passed_over(device: Device) -> None:
    body = {"username": device.session.username, "password": PASSWORD, "device_name": "x", "__proto__": {}, "new": 1}
    assert device.http.post("/api/v1/auth/login", json=body).status_code == 200
