"""Somebody who signs tokens, as the server does."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.tokens import Claims, base64url, node_audience, raw_public_key, sign, thumbprint
from shared.wire import KeySet, PublicKey

ISSUER = "test server"


class Authority:
    """A signing key, and tokens for one node."""

    def __init__(self, node_id: str) -> None:
        self._audience = node_audience(node_id)
        self.key = Ed25519PrivateKey.generate()

    def key_set(self) -> KeySet:
        raw = raw_public_key(self.key.public_key())
        return KeySet(ISSUER, [PublicKey(x=base64url(raw), kid=thumbprint(raw))])

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
