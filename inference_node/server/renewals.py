"""Tokens that this node renews while the server is away (rule K11)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared import device_keys
from shared.errors import Code, DomovoiError
from shared.jws import raw_public_key, thumbprint
from shared.limits import CHALLENGE_BYTES, CHALLENGE_S, RENEWABLE_S, TOKEN_LIFETIME_S
from shared.tokens import Claims, key_id, node_audience, sign, verify_access
from shared.wire import AccessToken

if TYPE_CHECKING:
    from inference_node.server.identity import Identity
    from inference_node.server.keyset import KeyRing
    from shared.renewal_wire import Renewal

_UNTIL_BYTES = 8
_MARK_BYTES = 16
_NONCE_BYTES = CHALLENGE_BYTES - _UNTIL_BYTES - _MARK_BYTES


class Renewals:
    """Renews the server's tokens, and verifies what it has given out as well as what the server has."""

    def __init__(self, keys: KeyRing, identity: Identity) -> None:
        self._keys = keys
        self._node_id = identity.node_id
        self._key = identity.private_key
        public_key = identity.private_key.public_key()
        self._own = {thumbprint(raw_public_key(public_key)): public_key}
        self._secret = secrets.token_bytes(32)
        self._used: dict[bytes, float] = {}

    async def verify(self, token: str) -> Claims:
        """Return the claims of a token for this node.

        Raises DomovoiError `token_invalid`, `token_expired`, `device_revoked`.
        """
        if key_id(token) not in self._own:
            return await self._keys.verify(token)
        self._keys.check_usable()
        claims = verify_access(token, self._own, self._node_id, node_audience(self._node_id), self._keys.now_s())
        if self._keys.is_revoked(claims):
            raise DomovoiError(Code.DEVICE_REVOKED)
        return claims

    def challenge(self) -> bytes:
        """Return what a browser signs within a minute. Nothing is kept of it, so strangers may ask as they like."""
        until_ms = int((time.monotonic() + CHALLENGE_S) * 1000)
        asked = until_ms.to_bytes(_UNTIL_BYTES) + secrets.token_bytes(_NONCE_BYTES)
        return asked + self._mark(asked)

    async def renew(self, renewal: Renewal) -> AccessToken:
        """Return a token for a day, for whoever has the key that the server's token names.

        Raises DomovoiError `token_expired` when its days are over, `token_invalid`, `device_revoked`.
        """
        self._check_challenge(renewal.challenge)
        claims = await self._keys.verify(renewal.token, grace_s=RENEWABLE_S)
        message = device_keys.renewal_message(self._node_id, renewal.challenge, renewal.token)
        try:
            named = device_keys.confirmation(device_keys.thumbprint(renewal.key))
            device_keys.verify(renewal.key, renewal.signature, message)
        except ValueError as error:
            raise DomovoiError(Code.TOKEN_INVALID, f"The proof of the device's key is not one: {error}.") from error
        if claims.cnf is None or claims.cnf.jkt != named:
            raise DomovoiError(Code.TOKEN_INVALID, "The token is another device's.")
        # Only now: whoever has no key can't fill this.
        self._use_up(renewal.challenge)
        now_s = int(self._keys.now_s())
        expires_s = min(now_s + TOKEN_LIFETIME_S, claims.exp + RENEWABLE_S)
        renewed = replace(claims, iss=self._node_id, iat=now_s, nbf=now_s, exp=expires_s, auth_time=claims.iat)
        return AccessToken(sign(renewed, self._key), expires_s)

    def _check_challenge(self, challenge: bytes) -> None:
        asked, mark = challenge[:-_MARK_BYTES], challenge[-_MARK_BYTES:]
        until_s = int.from_bytes(asked[:_UNTIL_BYTES]) / 1000
        is_ours = hmac.compare_digest(mark, self._mark(asked))
        if not is_ours or until_s < time.monotonic() or challenge in self._used:
            raise DomovoiError(Code.TOKEN_INVALID, "The challenge is over. Ask for another one.")

    def _use_up(self, challenge: bytes) -> None:
        now_s = time.monotonic()
        self._used = {used: until_s for used, until_s in self._used.items() if until_s > now_s}
        self._used[challenge] = now_s + CHALLENGE_S

    def _mark(self, asked: bytes) -> bytes:
        return hmac.digest(self._secret, asked, hashlib.sha256)[:_MARK_BYTES]
