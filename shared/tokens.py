"""One verifier of access tokens, used by server and node (rules K1-K6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from shared import jws
from shared.errors import Code, DomovoiError
from shared.limits import MAX_TOKEN_BYTES, NODE_ASSERTION_LIFETIME_S, TOKEN_LEEWAY_S, TOKEN_LIFETIME_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ACCESS_TYPE = "at+jwt"
NODE_TYPE = "node+jwt"
SYNC_AUDIENCE = "sync"
NODE_LOGIN_AUDIENCE = "node-login"
Filled = Annotated[str, Meta(min_length=1)]


class Confirmation(Struct, frozen=True):
    """Whose the token is: the thumbprint of the device's key (RFC 7800, RFC 9449)."""

    jkt: Filled


class Claims(Struct, frozen=True):
    """Claims of an access token: who (`sub` account, `did` device), for whom (`aud`), until when, which (`jti`).

    `auth_time` is when the server gave out the token from which a node has renewed this one, with the same `jti`.
    """

    iss: str
    aud: str
    sub: Filled
    did: Filled
    jti: Filled
    iat: int
    nbf: int
    exp: int
    scope: Filled = "account"
    auth_time: int | None = None
    cnf: Confirmation | None = None


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


def sign(claims: Claims | NodeClaims, key: Ed25519PrivateKey, kind: str = ACCESS_TYPE) -> str:
    """Return the signed token."""
    payload = msgspec.to_builtins(claims)
    return jws.sign({name: value for name, value in payload.items() if value is not None}, key, kind)


def verify_access(
    token: str, keys: Mapping[str, Ed25519PublicKey], issuer: str, audience: str, now_s: float, grace_s: int = 0
) -> Claims:
    """Return the claims of a valid access token, or of one that has run out at most `grace_s` ago.

    Raises DomovoiError token_expired past `exp`, token_invalid for everything else.
    """
    payload = _verify(token, keys, (now_s, grace_s), kind=ACCESS_TYPE, audience=audience, lifetime_s=TOKEN_LIFETIME_S)
    if payload.get("iss") != issuer or "scope" not in payload:
        raise DomovoiError(Code.TOKEN_INVALID)
    try:
        return msgspec.convert(payload, Claims)
    except msgspec.ValidationError as error:
        raise DomovoiError(Code.TOKEN_INVALID) from error


def verify_node_assertion(token: str, keys: Mapping[str, Ed25519PublicKey], now_s: float) -> NodeClaims:
    """Return the claims of a node's login. The caller checks that `iss` is the node the key belongs to."""
    payload = _verify(
        token, keys, (now_s, 0), kind=NODE_TYPE, audience=NODE_LOGIN_AUDIENCE, lifetime_s=NODE_ASSERTION_LIFETIME_S
    )
    for name in ("iss", "jti"):
        if not isinstance(payload.get(name), str) or not payload[name]:
            raise DomovoiError(Code.TOKEN_INVALID)
    return NodeClaims(**{name: payload[name] for name in NodeClaims.__struct_fields__})


def key_id(token: str) -> str:
    """Return the `kid` of a token that is not verified yet. Raises token_invalid when it has none."""
    try:
        return jws.key_id(token, MAX_TOKEN_BYTES)
    except jws.NotSigned as error:
        raise DomovoiError(Code.TOKEN_INVALID) from error


def _verify(
    token: str,
    keys: Mapping[str, Ed25519PublicKey],
    times: tuple[float, int],
    *,
    kind: str,
    audience: str,
    lifetime_s: int,
) -> dict[str, Any]:
    """Return the payload; `times` is now and the grace after its end, in seconds."""
    try:
        payload = jws.verify(token, keys, kind, MAX_TOKEN_BYTES)
    except jws.NotSigned as error:
        raise DomovoiError(Code.TOKEN_INVALID) from error
    _check_times(payload, lifetime_s, *times)
    if payload.get("aud") != audience:
        raise DomovoiError(Code.TOKEN_INVALID)
    return payload


def _check_times(payload: dict[str, Any], lifetime_s: int, now_s: float, grace_s: int) -> None:
    times = [payload.get("iat"), payload.get("nbf"), payload.get("exp"), payload.get("auth_time", 0)]
    if any(type(value) is not int or not 0 <= value < 2**53 for value in times):
        raise DomovoiError(Code.TOKEN_INVALID)
    issued, not_before, expires = payload["iat"], payload["nbf"], payload["exp"]
    if expires - issued > lifetime_s or issued > now_s + TOKEN_LEEWAY_S or not_before > now_s + TOKEN_LEEWAY_S:
        raise DomovoiError(Code.TOKEN_INVALID)
    if expires + TOKEN_LEEWAY_S + grace_s <= now_s:
        raise DomovoiError(Code.TOKEN_EXPIRED)
