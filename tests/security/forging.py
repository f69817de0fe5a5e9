"""Tokens that differ from a good one in what a vector says."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.jws import base64url, raw_public_key, thumbprint
from shared.key_sets import KEY_SET_TYPE
from tests.security.vectors import spelt_out

if TYPE_CHECKING:
    from collections.abc import Callable

# The order of the group (RFC 8032, 5.1).
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
ABSENT = {"absent": True}
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Forger(NamedTuple):
    """Forges tokens with the right key in hand; `claims` are those of a good one, `now_s` None is the time it is."""

    key: Ed25519PrivateKey
    claims: dict[str, Any]
    now_s: int | None = None

    def token(self, given: dict[str, Any]) -> str:
        """Return the token that a vector describes."""
        given = spelt_out(given, self.now_s)
        header = {"typ": "at+jwt", "alg": "EdDSA", "kid": thumbprint(raw_public_key(self.key.public_key()))}
        head = _text("HEADER", header, given.get("header", {}))
        body = _text("CLAIMS", self.claims, given.get("claims", {}))
        body = body.replace("AUDIENCE", self.claims["aud"]).replace("ISSUER", self.claims["iss"])
        signed = f"{base64url(head.encode())}.{base64url(body.encode())}"
        signature = self._signature(signed, given.get("signature", "right"))
        return str(given.get("text", "TOKEN")).replace("TOKEN", f"{signed}.{signature}")

    def _signature(self, signed: str, kind: str) -> str:
        message = signed.encode()
        right = self.key.sign(message)
        if kind == "hex":
            return right.hex()
        if kind.startswith("hmac "):
            secret = self._secrets()[kind.removeprefix("hmac ")]
            return base64url(hmac.digest(secret, message, "sha256"))
        r, s = right[:32], int.from_bytes(right[32:], "little")
        makers: dict[str, Callable[[], bytes]] = {
            "right": lambda: right,
            "empty": lambda: b"",
            "zero": lambda: bytes(64),
            "short": lambda: right[:-1],
            "long": lambda: right + b"\0",
            "flipped": lambda: bytes([right[0] ^ 1]) + right[1:],
            "malleable": lambda: r + (s + GROUP_ORDER).to_bytes(32, "little"),
            "halves": lambda: right[32:] + r,
            "another": lambda: self.key.sign(message + b"A"),
            "stranger": lambda: STRANGER.sign(message),
            "prehashed": lambda: self.key.sign(hashlib.sha512(message).digest()),
        }
        return base64url(makers[kind]())

    def _secrets(self) -> dict[str, bytes]:
        """Return what of the public key could be taken for a secret."""
        public = self.key.public_key()
        info = PublicFormat.SubjectPublicKeyInfo
        return {
            "raw": raw_public_key(public),
            "pem": public.public_bytes(Encoding.PEM, info),
            "der": public.public_bytes(Encoding.DER, info),
            "openssh": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
            "x": base64url(raw_public_key(public)).encode(),
            "empty": b"",
        }


def compact(header: dict[str, Any], claims: dict[str, Any], key: Ed25519PrivateKey) -> str:
    """Return anything signed, whatever it is."""
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{base64url(key.sign(signed.encode()))}"


class Issuer(Protocol):
    """A server's name and keys."""

    @property
    def issuer(self) -> str: ...  # as the class says

    @property
    def current(self) -> Ed25519PrivateKey: ...

    @property
    def root(self) -> Ed25519PrivateKey: ...


def key_set_of(keys: Issuer, given: dict[str, Any], now_s: int | None = None) -> str:
    """Return the key set that a vector describes."""
    now = int(time.time()) if now_s is None else now_s
    given = spelt_out(given, now)
    public = base64url(raw_public_key(keys.current.public_key()))
    good = {"iss": keys.issuer, "ver": 7, "iat": now, "exp": now + 86_400, "keys": ["PUBLIC"]}
    changed = {name: value for name, value in {**good, **given.get("claims", {})}.items() if value != ABSENT}
    payload = json.loads(json.dumps(changed).replace("PUBLIC", public))
    signer = {"root": keys.root, "key": keys.current, "stranger": STRANGER}[given.get("signer", "root")]
    kid = thumbprint(raw_public_key(signer.public_key()))
    return compact({"typ": given.get("typ", KEY_SET_TYPE), "alg": "EdDSA", "kid": kid}, payload, signer)


def _text(name: str, good: dict[str, Any], given: dict[str, Any] | str) -> str:
    """Return the JSON text of a part: the good members with changes, or the text that is given."""
    if isinstance(given, str):
        return given.replace(name, json.dumps(good)[1:-1])
    changed = {**good, **given}
    return json.dumps({member: value for member, value in changed.items() if value != ABSENT})
