from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import argon2
import pytest

from shared.limits import MAX_PASSWORD_CHARACTERS
from sync_server import clock
from sync_server.accounts import invitations, throttle
from tests.sync_server.device import PASSWORD, Device, code_of

if TYPE_CHECKING:
    import httpx

    from tests.sync_server.running_server import RunningServer, StartServer


def register(http: httpx.Client, **body: Any) -> httpx.Response:
    given = {"username": "Ann", "password": PASSWORD, "device_name": "Laptop", **body}
    return http.post("/api/v1/auth/register", json=given)


def login(http: httpx.Client, **body: Any) -> httpx.Response:
    given = {"username": "Ann", "password": PASSWORD, "device_name": "Phone", **body}
    return http.post("/api/v1/auth/login", json=given)


def test_the_first_account_takes_the_setup_code_once(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "sync_server"):
        running = start_server()
    http, code, path = running.client(), running.setup_code(), running.settings.data / "setup-code"
    assert code in caplog.text
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    assert code_of(register(http)) == (403, "setup_code_wrong")
    assert code_of(register(http, setup_code="KORA-7T4M-9XQD")) == (403, "setup_code_wrong")
    assert path.exists(), "a wrong try does not use it up"
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert register(http, setup_code=typed).status_code == 200
    assert not path.exists()
    assert code_of(register(http, username="Bob", setup_code=code)) == (403, "invitation_wrong")

    again = running.started_again()
    assert not path.exists(), "the flag is in the database"
    assert code_of(register(http, username="Bob", setup_code=code)) == (403, "invitation_wrong")
    assert login(http).status_code == 200
    again.stop()


def test_of_two_first_accounts_at_once_one_is_made(start_server: StartServer) -> None:
    running = start_server()
    code, clients = running.setup_code(), [running.client(), running.client()]
    with ThreadPoolExecutor(2) as threads:
        tries = [
            threads.submit(register, http, username=f"Person {number}", setup_code=code)
            for number, http in enumerate(clients)
        ]
    answers = sorted(future.result().status_code for future in tries)
    assert answers == [200, 403]


def test_an_invitation_makes_one_account(shared_server: RunningServer) -> None:
    http, code = shared_server.client(), shared_server.invitation()
    assert code_of(register(http, username="Guest", invitation="0000-0000-0000-0000")) == (403, "invitation_wrong")
    assert register(http, username="Guest", invitation=code.lower()).status_code == 200
    assert code_of(register(http, username="Guest 2", invitation=code)) == (403, "invitation_wrong")


def test_a_refused_registration_does_not_use_the_invitation(shared_server: RunningServer, device: Device) -> None:
    http, code = shared_server.client(), shared_server.invitation()
    taken = device.session.username.upper()
    assert code_of(register(http, username=taken, invitation=code)) == (409, "username_taken")
    assert register(http, username=f"{taken} II", invitation=code).status_code == 200


def test_an_invitation_lasts_seven_days(shared_server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    code = shared_server.invitation()
    later_ms = clock.now_ms() + invitations.LIFETIME_MS
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms)
    response = register(shared_server.client(), username="Late", invitation=code)
    assert code_of(response) == (403, "invitation_wrong")


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "password_too_short"),
        ("seven77", "password_too_short"),
        ("🐈" * 7, "password_too_short"),
        ("x" * (MAX_PASSWORD_CHARACTERS + 1), "password_too_long"),
        ("Password1", "password_too_common"),
        ("aaaaaaaa", "password_too_common"),
        ("I am weak guest", "password_too_common"),
    ],
)
def test_weak_passwords_are_refused(shared_server: RunningServer, password: str, code: str) -> None:
    response = register(shared_server.client(), username="Weak guest", password=password, invitation="any")
    assert code_of(response) == (422, code)


def test_the_longest_password_counts_to_its_end(shared_server: RunningServer) -> None:
    http, longest = shared_server.client(), "correct horse " * 73 + "ok"
    assert len(longest) == MAX_PASSWORD_CHARACTERS
    made = register(http, username="Long", password=longest, invitation=shared_server.invitation())
    assert made.status_code == 200
    assert code_of(login(http, username="Long", password=longest[:-1])) == (401, "login_wrong")
    assert login(http, username="long", password=longest).status_code == 200


@pytest.mark.parametrize("username", ["", " ann", "ann ", "a\x00b", "a\u202eb", "a\nb", "x" * 65])
def test_unusable_names_are_refused(shared_server: RunningServer, username: str) -> None:
    response = register(shared_server.client(), username=username, invitation="any")
    assert code_of(response) == (422, "username_invalid")


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\x1b[31mb"])
def test_unusable_device_names_are_refused(shared_server: RunningServer, name: str) -> None:
    response = login(shared_server.client(), username="Owner", device_name=name)
    assert code_of(response) == (400, "bad_request")


def test_names_are_unique_in_nfc_and_without_case(shared_server: RunningServer) -> None:
    http = shared_server.client()
    made = register(http, username="Jose\u0301 Straße", invitation=shared_server.invitation())
    assert made.json()["username"] == "José Straße"
    again = register(http, username="JOSÉ STRASSE", invitation=shared_server.invitation())
    assert code_of(again) == (409, "username_taken")
    assert login(http, username="josé strasse").status_code == 200


def test_an_unknown_name_is_answered_like_a_wrong_password(
    shared_server: RunningServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    for method in ("hash", "verify"):
        real = getattr(argon2.PasswordHasher, method)
        monkeypatch.setattr(argon2.PasswordHasher, method, noted(work, method, real))
    http = shared_server.client()
    wrong = login(http, username=device.session.username, password="not the password")
    unknown = login(http, username="Nobody at all", password="not the password")
    assert code_of(wrong) == code_of(unknown) == (401, "login_wrong")
    assert wrong.json() == unknown.json()
    assert sorted(work) == ["hash", "verify"], "each costs one Argon2id"


def noted(work: list[str], name: str, real: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        work.append(name)
        return real(*args, **kwargs)

    return call


def test_guessing_is_slowed_down_but_nobody_is_locked_out(
    shared_server: RunningServer, device: Device, stranger: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    http, name = shared_server.client(), device.session.username
    for _ in range(throttle.FREE_TRIES):
        assert code_of(login(http, username=name, password="a wrong guess")) == (401, "login_wrong")
    refused = login(http, username=name)
    assert code_of(refused) == (429, "too_many_tries")
    assert refused.headers["retry-after"] == "1"
    assert login(http, username=stranger.session.username).status_code == 200, "others are not slowed down"
    elsewhere = {"x-forwarded-for": "203.0.113.7"}
    body = {"username": name, "password": PASSWORD, "device_name": "Phone"}
    assert http.post("/api/v1/auth/login", json=body, headers=elsewhere).status_code == 200, "nor is another address"

    later_ms = clock.now_ms() + 2000
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms)
    assert login(http, username=name).status_code == 200
    assert code_of(login(http, username=name, password="a wrong guess")) == (401, "login_wrong"), "all forgiven"


def test_logging_in_again_keeps_the_device(device: Device, stranger: Device) -> None:
    device.write()
    name, device_id = device.session.username, device.session.device_id
    again = login(device.http, username=name, device_id=device_id)
    assert again.json()["device_id"] == device_id
    assert device.push(device.change()).acked_dseq == 2, "its log goes on"
    foreign = login(stranger.http, username=stranger.session.username, device_id=device_id)
    assert foreign.json()["device_id"] != device_id
    assert code_of(login(device.http, username=name, device_id="not hex")) == (400, "bad_request")


def test_a_revoked_device_comes_back_as_a_new_one(device: Device) -> None:
    phone = device.sibling()
    device.request("DELETE", f"/api/v1/devices/{phone.session.device_id}")
    again = login(phone.http, username=phone.session.username, device_id=phone.session.device_id)
    assert again.json()["device_id"] != phone.session.device_id
