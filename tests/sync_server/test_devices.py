from __future__ import annotations

from typing import TYPE_CHECKING

from sync_server import clock
from sync_server.accounts import devices
from tests.sync_server.device import Device, code_of

if TYPE_CHECKING:
    import pytest


def listed(device: Device) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = device.request("GET", "/api/v1/devices").json()["devices"]
    return [row for row in rows if row["kind"] == "app"]


def test_devices_are_listed_renamed_and_revoked(device: Device) -> None:
    other = device.sibling()
    path = f"/api/v1/devices/{other.session.device_id}"
    assert [(row["name"], row["kind"], row["current"]) for row in listed(device)] == [
        ("Laptop", "app", True),
        ("Phone", "app", False),
    ]
    renamed = device.request("PATCH", path, json={"name": "  Kitchen tablet "})
    assert renamed.json()["name"] == "Kitchen tablet"
    assert device.request("DELETE", path).status_code == 204
    assert [row["name"] for row in listed(device)] == ["Laptop"]
    assert code_of(other.request("GET", "/api/v1/devices")) == (401, "device_revoked")
    assert code_of(device.request("DELETE", path)) == (404, "not_found")
    assert code_of(device.request("PATCH", path, json={"name": "x"})) == (404, "not_found")


def test_another_accounts_devices_can_not_be_touched(device: Device, stranger: Device) -> None:
    for name in (stranger.session.device_id, "0" * 16, "xyz", "0" * 15):
        path = f"/api/v1/devices/{name}"
        assert code_of(device.request("DELETE", path)) == (404, "not_found")
        assert code_of(device.request("PATCH", path, json={"name": "Mine"})) == (404, "not_found")
    assert len(listed(stranger)) == 1


def test_a_device_is_seen_when_it_calls(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listed(device)[0]["last_seen_ms"]
    later_ms = clock.now_ms() + devices.SEEN_EVERY_MS + 1000
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms)
    assert listed(device)[0]["last_seen_ms"] == later_ms != before
