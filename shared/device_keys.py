"""Keys of browsers: made at login, never leaving the browser, with which it renews its token at a node (rule K11).

A browser has Ed25519 or, where it is older, P-256; it signs without a format around the signature.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from shared import jws
from shared.jws import KEY_BYTES, base64url, from_base64url, public_key_from

SIGNATURE_BYTES = 64
_CONTEXT = b"domovoi/1 renew "


class DeviceKey(Struct, frozen=True, omit_defaults=True):
    """A public key as RFC 7517 has it: Ed25519 with `x`, or P-256 with `x` and `y`, in base64url."""

    kty: Literal["OKP", "EC"]
    crv: Literal["Ed25519", "P-256"]
    x: str
    y: str | None = None


def thumbprint(key: DeviceKey) -> bytes:
    """Return the RFC 7638 thumbprint. Raises ValueError for what is no such key."""
    _check(key)
    if key.kty == "OKP":
        return from_base64url(jws.thumbprint(from_base64url(key.x)))
    members = f'{{"crv":"P-256","kty":"EC","x":"{key.x}","y":"{key.y}"}}'
    return hashlib.sha256(members.encode()).digest()


def confirmation(digest: bytes) -> str:
    """Return a thumbprint as the claim `cnf.jkt` has it (RFC 7800, RFC 9449)."""
    return base64url(digest)


def renewal_message(node_id: str, challenge: bytes, token: str) -> bytes:
    """Return what is signed to have a token renewed at a node, once."""
    return _CONTEXT + node_id.encode() + b" " + challenge + hashlib.sha256(token.encode()).digest()


def verify(key: DeviceKey, signature: bytes, message: bytes) -> None:
    """Raise ValueError unless the key has signed the message. The signature is 64 bytes, for P-256 r and s."""
    _check(key)
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError("a signature has 64 bytes")
    try:
        if key.kty == "OKP":
            public_key_from(from_base64url(key.x)).verify(signature, message)
        else:
            x, y, r, s = (
                int.from_bytes(part)
                for part in (_coordinate(key.x), _coordinate(key.y), signature[:KEY_BYTES], signature[KEY_BYTES:])
            )
            point = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
            point.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    except InvalidSignature as error:
        raise ValueError("another signature") from error


def _check(key: DeviceKey) -> None:
    match key.kty, key.crv, key.y:
        case "OKP", "Ed25519", None:
            public_key_from(from_base64url(key.x))
        case "EC", "P-256", str(y):
            x, y_value = int.from_bytes(_coordinate(key.x)), int.from_bytes(_coordinate(y))
            EllipticCurvePublicNumbers(x, y_value, SECP256R1()).public_key()
        case _:
            raise ValueError("neither an Ed25519 nor a P-256 key")


def _coordinate(text: str | None) -> bytes:
    raw = from_base64url(text or "")
    if len(raw) != KEY_BYTES:
        raise ValueError("a coordinate has 32 bytes")
    return raw
