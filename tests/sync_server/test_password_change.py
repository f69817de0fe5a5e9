"""Another password: other browsers are disconnected, nothing that was written is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sync_server.accounts import throttle
from tests.sync_server.device import PASSWORD, Device, code_of

if TYPE_CHECKING:
    import httpx

    from tests.sync_server.running_server import RunningServer

NEW = "four other plain words"


def change(device: Device, password: str = PASSWORD, new_password: str = NEW) -> httpx.Response:
    body = {"password": password, "new_password": new_password}
    return device.request("POST", "/api/v1/auth/password", json=body)


def test_other_browsers_lose_their_access_and_this_one_goes_on(device: Device, shared_server: RunningServer) -> None:
    other = device.sibling()
    other.write()
    name = device.session.username
    assert change(device).status_code == 204
    assert code_of(other.request("GET", "/api/v1/devices")) == (401, "device_revoked")
    assert code_of(other.http.post("/api/v1/auth/refresh")) == (401, "device_revoked")
    device.write()
    assert device.renew()
    assert len(device.pull().changes) == 2
    old = {"username": name, "password": PASSWORD, "device_name": "Phone"}
    assert code_of(shared_server.client().post("/api/v1/auth/login", json=old)) == (401, "login_wrong")
    # The device that was disconnected comes back as another one.
    back = Device.logged_in(shared_server.client, name, NEW, device_id=other.session.device_id)
    assert back.session.device_id != other.session.device_id
    assert len(back.pull().changes) == 2


@pytest.mark.parametrize(
    ("password", "new_password", "refusal"),
    [
        ("wrong", NEW, (401, "login_wrong")),
        (PASSWORD, "short", (422, "password_too_short")),
        (PASSWORD, "x" * 1025, (422, "password_too_long")),
        (PASSWORD, "password123", (422, "password_too_common")),
    ],
)
def test_a_refused_change_changes_nothing(
    device: Device, password: str, new_password: str, refusal: tuple[int, str]
) -> None:
    other = device.sibling()
    assert code_of(change(device, password, new_password)) == refusal
    assert other.request("GET", "/api/v1/devices").status_code == 200
    assert change(device).status_code == 204


def test_guessing_is_slowed_down(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "FREE_TRIES", 2)
    codes = [code_of(change(device, f"guess number {number}"))[1] for number in range(12)]
    assert codes[0] == "login_wrong"
    assert codes[-1] == "too_many_tries"


def test_it_asks_for_a_token(shared_server: RunningServer) -> None:
    body = {"password": PASSWORD, "new_password": NEW}
    assert code_of(shared_server.client().post("/api/v1/auth/password", json=body)) == (401, "token_missing")
