"""Signed JSON: compact JWS with Ed25519 (RFC 7515, RFC 8037), in the one spelling that is taken here (rules K1, K2).

PyJWT makes and checks the signature; the rest is checked here, because PyJWT alone lets through any `typ`,
foreign key types, other spellings of base64url and duplicate JSON keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_BYTES = 32
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_PRIME = 2**255 - 19
# Ordinates of the points of small order, for which anyone could sign: orders 4, 1, 2 and twice 8.
_ORDER_8 = int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little")
_LOW_ORDER = {0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8}
_D = -121665 * pow(121666, -1, _PRIME) % _PRIME


class NotSigned(ValueError):
    """What came is not JSON that one of these keys has signed."""


def raw_public_key(key: Ed25519PublicKey) -> bytes:
    """Return the 32 raw bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def public_key_from(raw: bytes) -> Ed25519PublicKey:
    """Return the key with these 32 raw bytes. Raises ValueError for one that is no key, or that anyone can sign for."""
    ordinate = int.from_bytes(raw, "little") & (2**255 - 1)
    if len(raw) != KEY_BYTES or ordinate >= _PRIME or ordinate in _LOW_ORDER or not _is_of_curve(ordinate):
        raise ValueError("the key is not an Ed25519 key, or a weak one")
    return Ed25519PublicKey.from_public_bytes(raw)


def _is_of_curve(ordinate: int) -> bool:
    """Say whether a point has this ordinate: x² = (y² - 1) / (d y² + 1) has a root (RFC 8032, 5.1.3)."""
    square = ordinate * ordinate % _PRIME
    x_square = (square - 1) * pow(_D * square + 1, -1, _PRIME)
    return pow(x_square, (_PRIME - 1) // 2, _PRIME) == 1


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


def sign(payload: Mapping[str, Any], key: Ed25519PrivateKey, kind: str) -> str:
    """Return the payload signed, with `kind` as its `typ`."""
    kid = thumbprint(raw_public_key(key.public_key()))
    return jwt.encode(dict(payload), key, algorithm="EdDSA", headers={"typ": kind, "kid": kid})


def verify(text: str, keys: Mapping[str, Ed25519PublicKey], kind: str, max_bytes: int) -> dict[str, Any]:
    """Return the payload of what one of `keys` (by thumbprint) has signed as this `kind`. Raises NotSigned."""
    header_segment, payload_segment = _segments(text, max_bytes)
    header = _json_object(header_segment)
    payload = _json_object(payload_segment)
    if set(header) != {"typ", "kid", "alg"} or header["typ"] != kind or header["alg"] != "EdDSA":
        raise NotSigned("another header")
    key = keys.get(header["kid"]) if isinstance(header["kid"], str) else None
    if key is None:
        raise NotSigned("an unknown key")
    try:
        jwt.PyJWS().decode(text, key, algorithms=["EdDSA"])
    except (jwt.InvalidTokenError, ValueError) as error:
        raise NotSigned("a wrong signature") from error
    return payload


def key_id(text: str, max_bytes: int) -> str:
    """Return the `kid` of what is not verified yet. Raises NotSigned when it has none."""
    kid = _json_object(_segments(text, max_bytes)[0]).get("kid")
    if not isinstance(kid, str):
        raise NotSigned("no key is named")
    return kid


def _segments(text: str, max_bytes: int) -> tuple[str, str]:
    if len(text) > max_bytes:
        raise NotSigned("too long")
    match text.split("."):
        case [header, payload, signature] if _SEGMENT.fullmatch(signature):
            return header, payload
    raise NotSigned("not three parts")


def _json_object(segment: str) -> dict[str, Any]:
    try:
        text = from_base64url(segment).decode("utf-8")
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotSigned("not JSON") from error
    if not isinstance(value, dict):
        raise NotSigned("not a JSON object")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _no_number(name: str) -> None:
    """NaN and its like are Python's own: another reader of the same bytes finds no JSON there."""
    raise ValueError(f"{name} is not JSON")
