from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from shared import jws, tokens
from shared.errors import Code, DomovoiError

NOW = 1_800_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
KID = jws.thumbprint(jws.raw_public_key(KEY.public_key()))
KEYS = {KID: KEY.public_key()}
CLAIMS = tokens.Claims(iss="domovoi:1", aud="sync", sub="aa", did="bb", jti="cc", iat=NOW, nbf=NOW, exp=NOW + 86_400)


def verify(token: str, now: float = NOW, audience: str = "sync") -> tokens.Claims:
    return tokens.verify_access(token, KEYS, "domovoi:1", audience, now)


def refusal(token: str, now: float = NOW, audience: str = "sync") -> Code:
    with pytest.raises(DomovoiError) as raised:
        verify(token, now, audience)
    assert raised.value.status == 401
    return raised.value.code


def forged(payload: dict[str, Any] | str, header: dict[str, Any] | str | None = None) -> str:
    """A token with any header and payload, signed with the right key."""
    head = header if isinstance(header, str) else json.dumps(header or {"typ": "at+jwt", "alg": "EdDSA", "kid": KID})
    body = payload if isinstance(payload, str) else json.dumps(payload)
    signed = f"{jws.base64url(head.encode())}.{jws.base64url(body.encode())}"
    return f"{signed}.{jws.base64url(KEY.sign(signed.encode()))}"


def claims(**changes: Any) -> dict[str, Any]:
    whole = {name: getattr(CLAIMS, name) for name in CLAIMS.__struct_fields__} | changes
    # What a good token has not is not there at all; `...` takes away what it has.
    return {name: value for name, value in whole.items() if value is not ... and (value is not None or name in changes)}


def test_K1_a_good_token_gives_its_claims() -> None:
    assert verify(tokens.sign(CLAIMS, KEY)) == CLAIMS
    assert verify(forged(claims())) == CLAIMS


def test_K1_thumbprint_is_that_of_RFC_8037_A3() -> None:
    public = jws.from_base64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert jws.thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT", "alg": "EdDSA", "kid": KID},
        {"alg": "EdDSA", "kid": KID},
        {"typ": "at+jwt", "alg": "none", "kid": KID},
        {"typ": "at+jwt", "alg": "HS256", "kid": KID},
        {"typ": "at+jwt", "alg": "eddsa", "kid": KID},
        {"typ": "at+jwt", "alg": "EdDSA"},
        {"typ": "at+jwt", "alg": "EdDSA", "kid": "unknown"},
        {"typ": "at+jwt", "alg": "EdDSA", "kid": [KID]},
        {"typ": "at+jwt", "alg": "EdDSA", "kid": KID, "crit": ["exp"]},
        {"typ": "at+jwt", "alg": "EdDSA", "kid": KID, "b64": False},
        '{"typ":"at+jwt","typ":"at+jwt","alg":"EdDSA","kid":"' + KID + '"}',
        "[]",
        "null",
        "not json",
        "[" * 2000,
    ],
)
def test_K1_only_the_exact_header_is_taken(header: dict[str, Any] | str) -> None:
    assert refusal(forged(claims(), header)) == Code.TOKEN_INVALID


@pytest.mark.parametrize(
    "payload",
    [
        claims(exp=...),
        claims(iat=...),
        claims(nbf=...),
        claims(exp=str(NOW + 60)),
        claims(exp=float(NOW + 60)),
        claims(exp=True),
        claims(exp=NOW + 86_401),
        claims(iat=NOW + 61, exp=NOW + 100),
        claims(nbf=NOW + 61),
        claims(iat=-1),
        claims(exp=2**60, iat=2**60 - 5),
        claims(aud=["sync"]),
        claims(aud="node:1"),
        claims(aud=...),
        claims(iss="domovoi:2"),
        claims(sub=""),
        claims(sub=7),
        claims(did=...),
        claims(jti=...),
        '{"exp": NaN}',
        '{"exp": 1e400}',
        '{"exp": 1, "exp": 2}',
        '"\\ud800"',
        "[]",
    ],
)
def test_K2_only_exact_claims_are_taken(payload: dict[str, Any] | str) -> None:
    assert refusal(forged(payload)) == Code.TOKEN_INVALID


def test_K2_a_token_runs_out_after_its_leeway() -> None:
    token = tokens.sign(CLAIMS, KEY)
    assert verify(token, CLAIMS.exp + 59) == CLAIMS
    assert refusal(token, CLAIMS.exp + 60) == Code.TOKEN_EXPIRED


def test_K2_an_oversized_token_is_refused() -> None:
    assert refusal(forged(claims(sub="x" * 5000))) == Code.TOKEN_INVALID


def test_K3_a_token_for_a_node_does_not_open_sync() -> None:
    token = forged(claims(aud="node:1"))
    assert refusal(token) == Code.TOKEN_INVALID
    assert verify(token, audience="node:1").sub == "aa"


def test_K1_a_key_confused_with_a_secret_is_refused() -> None:
    """PyJWT CVE-2022-29217: the public key used as an HMAC secret."""
    raw = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    token = jwt.encode(claims(), raw, algorithm="HS256", headers={"typ": "at+jwt", "kid": KID})
    assert refusal(token) == Code.TOKEN_INVALID


def test_K1_another_key_under_the_same_kid_is_refused() -> None:
    token = jwt.encode(claims(), OTHER, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": KID})
    assert refusal(token) == Code.TOKEN_INVALID


def test_K2_base64url_has_one_spelling() -> None:
    header, payload, signature = tokens.sign(CLAIMS, KEY).split(".")
    for spelling in (header + "=", base64.b64encode(b"\xff\xfe\xfd").decode(), header + "\n", "", "é"):
        assert refusal(f"{spelling}.{payload}.{signature}") == Code.TOKEN_INVALID


@given(st.text(max_size=300))
def test_K4_any_text_is_refused_without_another_exception(text: str) -> None:
    assert refusal(text) == Code.TOKEN_INVALID


@given(st.data())
def test_K4_any_flipped_character_is_refused(data: st.DataObject) -> None:
    token = tokens.sign(CLAIMS, KEY)
    index = data.draw(st.integers(0, len(token) - 1))
    replaced = data.draw(st.characters(codec="ascii").filter(lambda character: character != token[index]))
    assert refusal(token[:index] + replaced + token[index + 1 :]) == Code.TOKEN_INVALID


def test_K6_a_node_assertion_lives_a_minute_and_is_no_access_token() -> None:
    assertion = tokens.NodeClaims(iss="n", aud="node-login", jti="j", iat=NOW, nbf=NOW, exp=NOW + 60)
    token = tokens.sign(assertion, KEY, tokens.NODE_TYPE)
    assert tokens.verify_node_assertion(token, KEYS, NOW) == assertion
    assert refusal(token) == Code.TOKEN_INVALID
    longer = tokens.NodeClaims(iss="n", aud="node-login", jti="j", iat=NOW, nbf=NOW, exp=NOW + 61)
    with pytest.raises(DomovoiError):
        tokens.verify_node_assertion(tokens.sign(longer, KEY, tokens.NODE_TYPE), KEYS, NOW)
