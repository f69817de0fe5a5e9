from __future__ import annotations

from typing import Any

import pytest

from sync_server import clock
from sync_server.accounts import devices
from tests.sync_server.device import PASSWORD, Device, code_of
from tests.sync_server.event_stream import events_of


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


def test_another_login_is_told_at_once_with_time_and_address(device: Device) -> None:
    with events_of(device) as events:
        greeting = events.next("hello")
        phone = device.sibling()
        news = events.next("devices")
    rows: list[dict[str, Any]] = device.request("GET", "/api/v1/devices").json()["devices"]
    row = next(row for row in rows if row["device_id"] == phone.session.device_id)
    assert greeting["login_ms"] < news["login_ms"] == row["login_ms"] <= phone.session.server_ms
    assert row["login_address"] == row["address"] == phone.http.headers["x-forwarded-for"]


def test_a_login_is_told_to_who_was_away_and_again_when_the_same_device_logs_in(device: Device) -> None:
    with events_of(device) as events:
        before = events.next("hello")["login_ms"]
    phone = device.sibling()
    with events_of(device) as events:
        after = events.next("hello")["login_ms"]
    assert after > before
    again = Device.logged_in(lambda: phone.http, phone.session.username, device_id=phone.session.device_id)
    assert again.session.device_id == phone.session.device_id
    with events_of(device) as events:
        assert events.next("hello")["login_ms"] > after


def test_a_renewed_login_is_no_news(device: Device) -> None:
    with events_of(device) as events:
        before = events.next("hello")["login_ms"]
    assert device.renew()
    with events_of(device) as events:
        assert events.next("hello")["login_ms"] == before


@pytest.mark.parametrize("what", ["rename", "disconnect", "change the password"])
def test_what_becomes_of_devices_is_told_to_the_others(device: Device, what: str) -> None:
    phone = device.sibling()
    path = f"/api/v1/devices/{phone.session.device_id}"
    calls: dict[str, tuple[str, str, dict[str, str] | None]] = {
        "rename": ("PATCH", path, {"name": "Kitchen"}),
        "disconnect": ("DELETE", path, None),
        "change the password": (
            "POST",
            "/api/v1/auth/password",
            {"password": PASSWORD, "new_password": "three other words"},
        ),
    }
    method, path, body = calls[what]
    with events_of(device) as events:
        events.next("presence")
        assert device.request(method, path, json=body).is_success
        assert events.next("devices")["login_ms"] > 0


def test_nobody_hears_of_another_accounts_logins(device: Device, stranger: Device) -> None:
    with events_of(device) as events:
        events.next("presence")
        stranger.sibling()
        device.write()
        assert events.first().name == "log"
