"""Somebody who signs tokens, as the server does."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inference_node.server.keyset import Kept
from shared.jws import base64url, raw_public_key, thumbprint
from shared.key_sets import Revocation, Revocations, sign_key_set, sign_revocations
from shared.tokens import Claims, node_audience, sign
from shared.wire import KeySet, PublicKey

ISSUER = "test server"


def as_jwk(key: Ed25519PrivateKey) -> PublicKey:
    raw = raw_public_key(key.public_key())
    return PublicKey(x=base64url(raw), kid=thumbprint(raw))


class Authority:
    """A signing key, and tokens for one node."""

    def __init__(self, node_id: str) -> None:
        self._audience = node_audience(node_id)
        self.root = Ed25519PrivateKey.generate()
        self.key = Ed25519PrivateKey.generate()

    def signed(self, version: int = 1, now_s: float | None = None, *more: bytes) -> str:
        """Return the key set as its root signs it."""
        now = int(time.time() if now_s is None else now_s)
        return sign_key_set(ISSUER, version, now, [raw_public_key(self.key.public_key()), *more], self.root)

    def key_set(self, **more: Any) -> KeySet:
        """Return what the server publishes."""
        return KeySet(ISSUER, [as_jwk(self.key)], as_jwk(self.root), self.signed(**more))

    def rotate(self) -> None:
        """Sign with another key from now on."""
        self.key = Ed25519PrivateKey.generate()

    def kept(self) -> bytes:
        """Return what a node keeps of a login."""
        return msgspec.json.encode(Kept(base64url(raw_public_key(self.root.public_key())), self.signed()))

    def revoked(self, number: int, *revocations: Revocation) -> str:
        """Return a signed list of what was revoked."""
        return sign_revocations(Revocations(ISSUER, number, int(time.time()), list(revocations)), self.key)

    def token(self, account: bytes, **claims: Any) -> str:
        now = int(time.time())
        usual = Claims(
            iss=ISSUER,
            aud=self._audience,
            sub=account.hex(),
            did=secrets.token_hex(8),
            jti=secrets.token_hex(8),
            iat=now,
            nbf=now,
            exp=now + 3600,
        )
        return sign(msgspec.structs.replace(usual, **claims), self.key)
