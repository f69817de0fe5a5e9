from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared import jws, tokens
from shared.limits import TOKEN_LEEWAY_S, TOKEN_LIFETIME_S
from sync_server import clock
from tests.sync_server.device import PASSWORD, Device, code_of

if TYPE_CHECKING:
    import httpx

    from tests.sync_server.fake_node import Identity


def asked_with(device: Device, authorization: str | None) -> httpx.Response:
    headers = {} if authorization is None else {"authorization": authorization}
    return device.http.get("/api/v1/devices", headers=headers)


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(jws.from_base64url(token.split(".")[1]))
    return claims


def test_K4_no_token(device: Device) -> None:
    response = asked_with(device, None)
    assert code_of(response) == (401, "token_missing")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("authorization", ["Bearer", "Basic YTpi", "Bearer x", "Bearer a.b.c", "Bearer " + "x" * 5000])
def test_K4_what_is_no_token(device: Device, authorization: str) -> None:
    assert code_of(asked_with(device, authorization)) == (401, "token_invalid")


def test_K4_an_expired_token(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    later_ms = clock.now_ms() + (TOKEN_LIFETIME_S + TOKEN_LEEWAY_S + 1) * 1000
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms)
    assert code_of(asked_with(device, device.bearer["authorization"])) == (401, "token_expired")


def test_K1_another_key_signs_nothing_here(device: Device) -> None:
    claims = msgspec.convert(claims_of(device.session.access_token), tokens.Claims)
    forged = tokens.sign(claims, Ed25519PrivateKey.generate())
    assert code_of(asked_with(device, f"Bearer {forged}")) == (401, "token_invalid")


def test_K1_no_other_algorithm(device: Device) -> None:
    header, payload, signature = device.session.access_token.split(".")
    for changes in ({"alg": "none"}, {"alg": "HS256"}, {"alg": "eddsa"}, {"typ": "JWT"}, {"crit": ["x"]}):
        changed = json.dumps({**json.loads(jws.from_base64url(header)), **changes}).encode()
        forged = ".".join([jws.base64url(changed), payload, signature])
        assert code_of(asked_with(device, f"Bearer {forged}")) == (401, "token_invalid")


def test_K3_a_token_for_a_node_opens_nothing_here(identity: Identity, device: Device) -> None:
    node_id = identity.node_id
    answer = device.request("POST", "/api/v1/auth/token", json={"audience": f"node:{node_id}"})
    assert code_of(asked_with(device, f"Bearer {answer.json()['access_token']}")) == (401, "token_invalid")


def test_a_token_is_for_sync_or_for_a_node_of_the_account(identity: Identity, device: Device) -> None:
    def ask(audience: str) -> httpx.Response:
        return device.request("POST", "/api/v1/auth/token", json={"audience": audience})

    sync = ask("sync").json()
    assert claims_of(sync["access_token"])["aud"] == "sync"
    assert asked_with(device, f"Bearer {sync['access_token']}").status_code == 200
    node_id = identity.node_id
    assert claims_of(ask(f"node:{node_id}").json()["access_token"])["aud"] == f"node:{node_id}"
    assert code_of(ask(f"node:{'0' * 32}")) == (404, "node_unknown")
    assert code_of(ask("node:x")) == (404, "node_unknown")
    assert code_of(ask("admin")) == (400, "bad_request")


def test_the_published_keys_verify_the_tokens(device: Device) -> None:
    key_set = device.http.get("/.well-known/jwks.json").json()
    for key in (*key_set["keys"], key_set["root"]):
        assert set(key) == {"x", "kid", "kty", "crv", "use", "alg"}, "no private member"
    claims = claims_of(device.session.access_token)
    assert claims["iss"] == key_set["issuer"]
    assert claims["exp"] - claims["iat"] == TOKEN_LIFETIME_S
    header = json.loads(base64.urlsafe_b64decode(device.session.access_token.split(".")[0] + "=="))
    assert header == {"alg": "EdDSA", "kid": header["kid"], "typ": "at+jwt"}
    assert header["kid"] in {key["kid"] for key in key_set["keys"]}


def test_K11_tokens_for_nodes_name_the_key_of_the_last_login(identity: Identity, device: Device) -> None:
    raw = [jws.raw_public_key(Ed25519PrivateKey.generate().public_key()) for _ in range(2)]
    first, second = ({"kty": "OKP", "crv": "Ed25519", "x": jws.base64url(key)} for key in raw)
    again = {"username": device.session.username, "device_id": device.session.device_id}

    def confirmation(audience: str, device_key: dict[str, str] | None) -> object:
        same = Device.logged_in(device._connect, **again, device_key=device_key)
        assert same.session.device_id == device.session.device_id
        token = same.request("POST", "/api/v1/auth/token", json={"audience": audience}).json()["access_token"]
        return claims_of(token).get("cnf")

    node = f"node:{identity.node_id}"
    assert confirmation(node, first) == {"jkt": jws.thumbprint(raw[0])}
    assert confirmation(node, second) == {"jkt": jws.thumbprint(raw[1])}
    assert confirmation("sync", second) is None
    assert confirmation(node, None) is None


@pytest.mark.parametrize("x", ["", "AAAA", jws.base64url(bytes(32))])
def test_K11_what_is_no_key_is_refused_at_login(device: Device, x: str) -> None:
    key = {"kty": "OKP", "crv": "Ed25519", "x": x}
    body = {"username": device.session.username, "password": PASSWORD, "device_name": "x", "device_key": key}
    assert code_of(device.http.post("/api/v1/auth/login", json=body)) == (400, "bad_request")
