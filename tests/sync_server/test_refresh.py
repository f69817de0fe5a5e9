from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from shared.limits import REFRESH_ABSOLUTE_S, REFRESH_IDLE_S, REFRESH_RETRY_S
from sync_server import clock
from tests.sync_server.device import PASSWORD, Device, code_of

if TYPE_CHECKING:
    import httpx

    from tests.sync_server.running_server import RunningServer

COOKIE_PATH = "/api/v1/auth"


def cookie_name(http: httpx.Client) -> str:
    return f"domovoi-{http.base_url.port}"


def refresh(http: httpx.Client, token: str) -> httpx.Response:
    http.cookies.clear()
    return http.post("/api/v1/auth/refresh", headers={"cookie": f"{cookie_name(http)}={token}"})


def token_of(http: httpx.Client) -> str:
    token = http.cookies[cookie_name(http)]
    assert token is not None
    return token


def test_each_token_works_once_and_gives_the_next(device: Device) -> None:
    tokens = [token_of(device.http)]
    for _ in range(3):
        response = refresh(device.http, tokens[-1])
        assert response.status_code == 200
        assert response.json()["device_id"] == device.session.device_id
        assert response.json()["username"] == device.session.username
        tokens.append(token_of(device.http))
    assert len(set(tokens)) == 4


def test_a_retry_after_a_lost_answer_gets_the_same_token(device: Device) -> None:
    first = token_of(device.http)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: refresh(device.http, first), range(2)))
    answers = [refresh(device.http, first) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].cookies[cookie_name(device.http)] == answers[1].cookies[cookie_name(device.http)]


def test_a_late_reuse_ends_the_login(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    stolen = token_of(device.http)
    assert refresh(device.http, stolen).status_code == 200
    current = token_of(device.http)
    later_ms = clock.now_ms() + (REFRESH_RETRY_S + 1) * 1000
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms)
    assert code_of(refresh(device.http, stolen)) == (401, "login_ended")
    assert code_of(refresh(device.http, current)) == (401, "login_ended")


def test_a_login_ends_after_thirty_idle_days(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_of(device.http)
    later_ms = clock.now_ms() + (REFRESH_IDLE_S + 1) * 1000
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms)
    assert code_of(refresh(device.http, token)) == (401, "login_ended")


def test_a_login_ends_after_ninety_days_whatever_its_use(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    start_ms, step_ms = clock.now_ms(), REFRESH_IDLE_S * 1000 - 1000
    for step in range(1, REFRESH_ABSOLUTE_S // REFRESH_IDLE_S + 1):
        monkeypatch.setattr(clock, "now_ms", lambda step=step: start_ms + step * step_ms)
        assert refresh(device.http, token_of(device.http)).status_code == 200
    monkeypatch.setattr(clock, "now_ms", lambda: start_ms + (REFRESH_ABSOLUTE_S + 1) * 1000)
    assert code_of(refresh(device.http, token_of(device.http))) == (401, "login_ended")


def test_logging_out_ends_the_login_and_nothing_else(device: Device) -> None:
    other = device.sibling()
    token = token_of(device.http)
    response = device.http.post("/api/v1/auth/logout")
    assert response.status_code == 204
    assert cookie_name(device.http) not in device.http.cookies
    assert code_of(refresh(device.http, token)) == (401, "login_ended")
    assert refresh(other.http, token_of(other.http)).status_code == 200


def test_a_revoked_device_can_not_renew(device: Device) -> None:
    phone = device.sibling()
    device.request("DELETE", f"/api/v1/devices/{phone.session.device_id}")
    assert code_of(refresh(phone.http, token_of(phone.http))) == (401, "device_revoked")


@pytest.mark.parametrize("token", ["", "x", "." * 10, f"{'0' * 32}.{'A' * 43}", f"{'0' * 32}.{'A' * 42}_"])
def test_what_is_no_token_has_ended(shared_server: RunningServer, token: str) -> None:
    assert code_of(refresh(shared_server.client(), token)) == (401, "login_ended")


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(device: Device) -> None:
    body = {"username": device.session.username, "password": PASSWORD, "device_name": "Phone"}
    plain = device.http.post("/api/v1/auth/login", json=body).headers["set-cookie"]
    assert plain.startswith(f"{cookie_name(device.http)}=")
    assert {"HttpOnly", "SameSite=strict", f"Path={COOKIE_PATH}"} <= set(plain.split("; "))
    behind_tls = device.http.post("/api/v1/auth/login", json=body, headers={"x-forwarded-proto": "https"})
    secure = behind_tls.headers["set-cookie"]
    assert secure.startswith("__Host-domovoi=")
    assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(secure.split("; "))
    assert "Domain" not in secure
    assert behind_tls.headers["strict-transport-security"]
