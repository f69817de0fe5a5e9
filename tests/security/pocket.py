"""Everything that a caller may hold in a hand: good tokens, and what thieves and strangers would try instead."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from shared.errors import Code
from shared.jws import base64url
from shared.tokens import Claims, node_audience, sign
from sync_server.accounts import signing_keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR_S = 3600
DAY_S = 24 * HOUR_S
# What a token is for. "login" is a node's own assertion, "key" an API key, "" opens nothing anywhere.
Purpose = Literal["sync", "node", "login", "key", ""]
Whose = Literal["own", "other"]


class Token(NamedTuple):
    """Something to call with: `make` returns it anew for each call, None for nothing at all.

    `refusal` is why no door takes it, whatever it is for.
    """

    name: str
    make: Callable[[], str | None]
    purpose: Purpose = ""
    whose: Whose = "own"
    refusal: Code | None = None

    @property
    def is_owners(self) -> bool:
        """Whether it opens a door for the owner."""
        return self.whose == "own" and self.purpose != "" and self.refusal is None


class ServerKeys(NamedTuple):
    """A server's keys over time: the one in use, one that was retired in good order, one that leaked, and the root."""

    issuer: str
    current: Ed25519PrivateKey
    retired: Ed25519PrivateKey
    leaked: Ed25519PrivateKey
    root: Ed25519PrivateKey

    @classmethod
    def aged(cls, folder: Path) -> ServerKeys:
        """Make the keys of a new server and let them live through a leak and a rotation."""
        signing_keys.load_or_create(folder)
        leaked = _key_in_use(folder)
        signing_keys.rotate(folder, at_once=True)
        retired = _key_in_use(folder)
        signing_keys.rotate(folder)
        root = _private_key((folder / "root.pem").read_bytes())
        return cls((folder / "issuer").read_text("ascii"), _key_in_use(folder), retired, leaked, root)

    def token(self, account: str, device: str, audience: str, key: Ed25519PrivateKey | None = None, **more: Any) -> str:
        """Return a token that is good but for what `more` says otherwise."""
        now = int(time.time())
        usual = Claims(
            iss=self.issuer,
            aud=audience,
            sub=account,
            did=device,
            jti=secrets.token_hex(16),
            iat=now,
            nbf=now,
            exp=now + HOUR_S,
        )
        return sign(msgspec.structs.replace(usual, **more), key or self.current)


def bad_tokens(keys: ServerKeys, account: str, device: str, purpose: Purpose, audience: str) -> list[Token]:
    """Return what a door for that audience must not take, for an account that it would let in otherwise."""
    now = int(time.time())

    def token(name: str, refusal: Code, **how: Any) -> Token:
        return Token(
            f"{name}, {purpose}", lambda: keys.token(account, device, audience, **how), purpose, "own", refusal
        )

    stranger = Ed25519PrivateKey.generate()
    old = {"iat": now - DAY_S, "nbf": now - DAY_S, "exp": now - HOUR_S}
    return [
        token("expired", Code.TOKEN_EXPIRED, **old),
        token("not yet valid", Code.TOKEN_INVALID, nbf=now + HOUR_S),
        token("issued in the future", Code.TOKEN_INVALID, iat=now + HOUR_S, nbf=now + HOUR_S, exp=now + 2 * HOUR_S),
        token("too long", Code.TOKEN_INVALID, exp=now + DAY_S + HOUR_S),
        token("another issuer", Code.TOKEN_INVALID, iss="domovoi-0000000000000000"),
        token("wrong key", Code.TOKEN_INVALID, key=Ed25519PrivateKey.generate()),
        token("leaked key", Code.TOKEN_INVALID, key=keys.leaked),
        token("root key", Code.TOKEN_INVALID, key=keys.root),
        Token(
            f"wrong key under a known name, {purpose}",
            lambda: signed_again(keys.token(account, device, audience), stranger),
            purpose,
            "own",
            Code.TOKEN_INVALID,
        ),
    ]


def strange_tokens(keys: ServerKeys, account: str, device: str) -> list[Token]:
    """Return what is for nobody here."""
    other_node = node_audience("0" * 32)
    return [
        Token("none", lambda: None, refusal=Code.TOKEN_MISSING),
        Token("words", lambda: "let-me-in", refusal=Code.TOKEN_INVALID),
        Token("another node", lambda: keys.token(account, device, other_node)),
        Token("every node", lambda: keys.token(account, device, "node:")),
        Token("an account of nobody", lambda: keys.token("me", device, "sync"), refusal=Code.TOKEN_INVALID),
    ]


def signed_again(good: str, key: Ed25519PrivateKey) -> str:
    """Return the token with another key's signature under the name of the first."""
    signed = good.rpartition(".")[0]
    return f"{signed}.{base64url(key.sign(signed.encode()))}"


def _key_in_use(folder: Path) -> Ed25519PrivateKey:
    ring = msgspec.json.decode((folder / "ring.json").read_bytes())
    return _private_key(ring["current"].encode())


def _private_key(pem: bytes) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem, password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key
