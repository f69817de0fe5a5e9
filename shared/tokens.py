"""One verifier of access tokens, used by server and node (rules K1-K6).

PyJWT makes and checks the signature; the rest is checked here, because PyJWT alone lets through a missing
`exp`, any `typ`, foreign key types and duplicate JSON keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct

from shared.errors import Code, DomovoiError
from shared.limits import MAX_TOKEN_BYTES, NODE_ASSERTION_LIFETIME_S, TOKEN_LEEWAY_S, TOKEN_LIFETIME_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ACCESS_TYPE = "at+jwt"
NODE_TYPE = "node+jwt"
SYNC_AUDIENCE = "sync"
NODE_LOGIN_AUDIENCE = "node-login"

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")


class Claims(Struct, frozen=True):
    """Claims of an access token: who (`sub` account, `did` device), for whom (`aud`), until when, which (`jti`)."""

    iss: str
    aud: str
    sub: str
    did: str
    jti: str
    iat: int
    nbf: int
    exp: int
    scope: str = "account"


class NodeClaims(Struct, frozen=True):
    """Claims of a node's own assertion: `iss` is the node id."""

    iss: str
    aud: str
    jti: str
    iat: int
    nbf: int
    exp: int


def node_audience(node_id: str) -> str:
    """Return the audience of a token for one node."""
    return f"node:{node_id}"


def raw_public_key(key: Ed25519PublicKey) -> bytes:
    """Return the 32 raw bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Decode canonical base64url without padding. Raises ValueError for any other spelling."""
    if not _SEGMENT.fullmatch(text):
        raise ValueError("not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if base64url(data) != text:
        raise ValueError("base64url is not canonical")
    return data


def thumbprint(public_key: bytes) -> str:
    """Return the RFC 7638 thumbprint of a raw Ed25519 public key (members in the order of RFC 8037 A.3)."""
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{base64url(public_key)}"}}'
    return base64url(hashlib.sha256(members.encode()).digest())


def sign(claims: Claims | NodeClaims, key: Ed25519PrivateKey, kind: str = ACCESS_TYPE) -> str:
    """Return the signed token."""
    payload = {name: getattr(claims, name) for name in claims.__struct_fields__}
    kid = thumbprint(raw_public_key(key.public_key()))
    return jwt.encode(payload, key, algorithm="EdDSA", headers={"typ": kind, "kid": kid})


def verify_access(token: str, keys: Mapping[str, Ed25519PublicKey], issuer: str, audience: str, now_s: float) -> Claims:
    """Return the claims of a valid access token.

    Raises DomovoiError token_expired past `exp`, token_invalid for everything else.
    """
    payload = _verify(token, keys, now_s, kind=ACCESS_TYPE, audience=audience, lifetime_s=TOKEN_LIFETIME_S)
    if payload.get("iss") != issuer:
        raise DomovoiError(Code.TOKEN_INVALID)
    for name in ("sub", "did", "jti", "scope"):
        if not isinstance(payload.get(name), str) or not payload[name]:
            raise DomovoiError(Code.TOKEN_INVALID)
    return Claims(**{name: payload[name] for name in Claims.__struct_fields__})


def verify_node_assertion(token: str, keys: Mapping[str, Ed25519PublicKey], now_s: float) -> NodeClaims:
    """Return the claims of a node's login. The caller checks that `iss` is the node the key belongs to."""
    payload = _verify(
        token, keys, now_s, kind=NODE_TYPE, audience=NODE_LOGIN_AUDIENCE, lifetime_s=NODE_ASSERTION_LIFETIME_S
    )
    for name in ("iss", "jti"):
        if not isinstance(payload.get(name), str) or not payload[name]:
            raise DomovoiError(Code.TOKEN_INVALID)
    return NodeClaims(**{name: payload[name] for name in NodeClaims.__struct_fields__})


def key_id(token: str) -> str:
    """Return the `kid` of a token that is not verified yet. Raises token_invalid when it has none."""
    header = _json_object(_segments(token)[0])
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise DomovoiError(Code.TOKEN_INVALID)
    return kid


def _verify(
    token: str, keys: Mapping[str, Ed25519PublicKey], now_s: float, *, kind: str, audience: str, lifetime_s: int
) -> dict[str, Any]:
    header_segment, payload_segment = _segments(token)
    header = _json_object(header_segment)
    payload = _json_object(payload_segment)
    if set(header) != {"typ", "kid", "alg"} or header["typ"] != kind or header["alg"] != "EdDSA":
        raise DomovoiError(Code.TOKEN_INVALID)
    key = keys.get(header["kid"]) if isinstance(header["kid"], str) else None
    if key is None:
        raise DomovoiError(Code.TOKEN_INVALID)
    try:
        jwt.decode(
            token,
            key,
            algorithms=["EdDSA"],
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
                "verify_iss": False,
            },
        )
    except (jwt.InvalidTokenError, ValueError) as error:
        raise DomovoiError(Code.TOKEN_INVALID) from error
    _check_times(payload, lifetime_s, now_s)
    if payload.get("aud") != audience:
        raise DomovoiError(Code.TOKEN_INVALID)
    return payload


def _check_times(payload: dict[str, Any], lifetime_s: int, now_s: float) -> None:
    times = [payload.get(name) for name in ("iat", "nbf", "exp")]
    if any(type(value) is not int or not 0 <= value < 2**53 for value in times):
        raise DomovoiError(Code.TOKEN_INVALID)
    issued, not_before, expires = payload["iat"], payload["nbf"], payload["exp"]
    if expires - issued > lifetime_s or issued > now_s + TOKEN_LEEWAY_S or not_before > now_s + TOKEN_LEEWAY_S:
        raise DomovoiError(Code.TOKEN_INVALID)
    if expires + TOKEN_LEEWAY_S <= now_s:
        raise DomovoiError(Code.TOKEN_EXPIRED)


def _segments(token: str) -> tuple[str, str]:
    if len(token) > MAX_TOKEN_BYTES:
        raise DomovoiError(Code.TOKEN_INVALID)
    match token.split("."):
        case [header, payload, signature] if _SEGMENT.fullmatch(signature):
            return header, payload
    raise DomovoiError(Code.TOKEN_INVALID)


def _json_object(segment: str) -> dict[str, Any]:
    try:
        text = from_base64url(segment).decode("utf-8")
        value = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise DomovoiError(Code.TOKEN_INVALID) from error
    if not isinstance(value, dict):
        raise DomovoiError(Code.TOKEN_INVALID)
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value
