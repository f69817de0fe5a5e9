"""The server's signing keys, signed by its root key, and what was revoked, signed by one of them (rules K7-K10).

A verifier pins the root. Whatever it is then given, by whomever, it takes only what that root stands for, and never
something older than what it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta, Struct

from shared import jws
from shared.limits import (
    KEY_SET_LIFETIME_S,
    MAX_KEY_SET_BYTES,
    MAX_REVOCATIONS_BYTES,
    MAX_SEQUENCE,
    TOKEN_LEEWAY_S,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from shared.tokens import Claims

KEY_SET_TYPE = "keyset+jwt"
REVOCATIONS_TYPE = "revocations+jwt"
# Every reader has it exactly, the app's too.
Number = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]


class Refused(ValueError):
    """A key set or a revocation list is not taken. The message says why, for people."""


class KeySetClaims(Struct, frozen=True, forbid_unknown_fields=True):
    """What the root signs: the server's name, a version that only grows, and keys as base64url of 32 bytes.

    `iat` and `exp` are in seconds since 1970, at most 30 days apart.
    """

    iss: str
    ver: Number
    iat: Number
    exp: Number
    keys: list[str]


class VerifiedKeys(Struct, frozen=True):
    """A key set whose signature was checked: `keys` by thumbprint."""

    issuer: str
    version: int
    issued_s: int
    expires_s: int
    keys: dict[str, Ed25519PublicKey]

    def is_older_than(self, other: VerifiedKeys) -> bool:
        """Say whether the other was made later."""
        return (self.version, self.issued_s) < (other.version, other.issued_s)


class Revocation(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Tokens that are over before their time: those of account `sub` that were issued before `before`, in seconds.

    With `did` only those of one device, with `jti` only that one.
    """

    sub: str
    before: int
    did: str | None = None
    jti: str | None = None

    def covers(self, claims: Claims) -> bool:
        """Say whether a token with these claims is over."""
        return (
            self.sub == claims.sub
            # What a node has renewed is as old as what the server gave out.
            and (claims.iat if claims.auth_time is None else claims.auth_time) < self.before
            and self.did in {None, claims.did}
            and self.jti in {None, claims.jti}
        )


class Revocations(Struct, frozen=True, forbid_unknown_fields=True):
    """All that was revoked and could still matter. `num` grows with each revocation; `iat` in seconds since 1970."""

    iss: str
    num: int
    iat: int
    revoked: list[Revocation]

    def covers(self, claims: Claims) -> bool:
        """Say whether a token with these claims was revoked."""
        return any(revocation.covers(claims) for revocation in self.revoked)


def sign_key_set(issuer: str, version: int, now_s: int, keys: Iterable[bytes], root: Ed25519PrivateKey) -> str:
    """Return the raw public keys as a signed key set, good for 30 days from `now_s`."""
    payload = KeySetClaims(issuer, version, now_s, now_s + KEY_SET_LIFETIME_S, [jws.base64url(key) for key in keys])
    return jws.sign(msgspec.to_builtins(payload), root, KEY_SET_TYPE)


def verify_key_set(text: str, root: bytes) -> VerifiedKeys:
    """Return the keys that the root, a raw public key, has signed. Whether they are still good is asked of `check_age`.

    Raises Refused.
    """
    claims = _verified(text, {jws.thumbprint(root): jws.public_key_from(root)}, KEY_SET_TYPE, MAX_KEY_SET_BYTES)
    try:
        key_set = msgspec.convert(claims, KeySetClaims)
        keys = [jws.from_base64url(key) for key in key_set.keys]
        ring = {jws.thumbprint(key): jws.public_key_from(key) for key in keys}
    except ValueError as error:  # msgspec's too
        raise Refused(f"the key set is malformed: {error}") from error
    if not ring or not key_set.iat <= key_set.exp <= key_set.iat + KEY_SET_LIFETIME_S:
        raise Refused("the key set is empty, or good for too long")
    return VerifiedKeys(key_set.iss, key_set.ver, key_set.iat, key_set.exp, ring)


def check_age(keys: VerifiedKeys, now_s: float) -> None:
    """Raise Refused when the key set's days are over."""
    if keys.expires_s + TOKEN_LEEWAY_S <= now_s:
        raise Refused("the key set has run out; the server has to be reached once")


def sign_revocations(revocations: Revocations, key: Ed25519PrivateKey) -> str:
    """Return the list, signed."""
    return jws.sign(msgspec.to_builtins(revocations), key, REVOCATIONS_TYPE)


def verify_revocations(text: str, keys: VerifiedKeys) -> Revocations:
    """Return the list that one of the keys has signed. Raises Refused."""
    claims = _verified(text, keys.keys, REVOCATIONS_TYPE, MAX_REVOCATIONS_BYTES)
    try:
        revocations = msgspec.convert(claims, Revocations)
    except msgspec.ValidationError as error:
        raise Refused(f"the revocation list is malformed: {error}") from error
    if revocations.iss != keys.issuer:
        raise Refused("the revocation list is another server's")
    return revocations


def _verified(text: str, keys: dict[str, Ed25519PublicKey], kind: str, max_bytes: int) -> dict[str, Any]:
    try:
        return jws.verify(text, keys, kind, max_bytes)
    except jws.NotSigned as error:
        raise Refused(f"{kind} is not signed as it must be: {error}") from error
