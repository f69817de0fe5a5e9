"""Who may come in: invitations of the server's owner, made and taken back in the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sync_server import clock
from sync_server.accounts.invitations import LIFETIME_MS, LISTED_MS
from tests.sync_server.device import Device, code_of

if TYPE_CHECKING:
    from tests.sync_server.running_server import RunningServer, StartServer

INVITATIONS = "/api/v1/invitations"


@pytest.fixture
def own_server(start_server: StartServer) -> RunningServer:
    return start_server()


def listed(owner: Device) -> list[tuple[str, str]]:
    found = owner.request("GET", INVITATIONS).json()["invitations"]
    return [(invitation["invitation_id"], invitation["stage"]) for invitation in found]


def test_one_invitation_makes_one_account(own_server: RunningServer) -> None:
    owner = own_server.first_account()
    assert listed(owner) == []
    made = owner.request("POST", INVITATIONS).json()
    invitation_id = made["invitation"]["invitation_id"]
    assert listed(owner) == [(invitation_id, "open")]
    assert made["code"] not in owner.request("GET", INVITATIONS).text
    guest = Device.registered(own_server.client, "Guest", invitation=made["code"])
    assert listed(owner) == [(invitation_id, "used")]
    again = {"username": "Other", "password": "three plain words", "device_name": "x", "invitation": made["code"]}
    assert code_of(own_server.client().post("/api/v1/auth/register", json=again)) == (403, "invitation_wrong")
    # Who came by an invitation invites nobody.
    for method, path in (("GET", INVITATIONS), ("POST", INVITATIONS), ("DELETE", f"{INVITATIONS}/{invitation_id}")):
        assert code_of(guest.request(method, path)) == (403, "owner_only")


def test_an_invitation_can_be_taken_back(own_server: RunningServer) -> None:
    owner = own_server.first_account()
    first, second = (owner.request("POST", INVITATIONS).json() for _ in range(2))
    path = f"{INVITATIONS}/{first['invitation']['invitation_id']}"
    assert owner.request("DELETE", path).status_code == 204
    assert code_of(owner.request("DELETE", path)) == (404, "not_found")
    assert [stage for _, stage in listed(owner)] == ["open"]
    body = {"username": "Other", "password": "three plain words", "device_name": "x", "invitation": first["code"]}
    assert code_of(own_server.client().post("/api/v1/auth/register", json=body)) == (403, "invitation_wrong")
    Device.registered(own_server.client, "Guest", invitation=second["code"])


def test_an_invitation_is_good_for_a_week_and_listed_for_a_month(
    own_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = own_server.first_account()
    code = owner.request("POST", INVITATIONS).json()["code"]
    real = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: real() + LIFETIME_MS)
    owner.request("POST", "/api/v1/auth/refresh")
    assert owner.renew()
    assert [stage for _, stage in listed(owner)] == ["expired"]
    body = {"username": "Other", "password": "three plain words", "device_name": "x", "invitation": code}
    assert code_of(own_server.client().post("/api/v1/auth/register", json=body)) == (403, "invitation_wrong")
    monkeypatch.setattr(clock, "now_ms", lambda: real() + LISTED_MS + 1000)
    owner = Device.logged_in(own_server.client, owner.session.username)
    owner.request("POST", INVITATIONS)
    assert [stage for _, stage in listed(owner)] == ["open"]
