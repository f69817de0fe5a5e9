"""The server's own secrets: its root key, the keys that sign tokens, its name in them, and the key of refresh tokens.

The root signs key sets and nothing else (rules K7, K8). Of the signing keys one is in use; the next is published
already, so that verifiers know it before they meet it; those before stay published while their tokens matter.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from msgspec import Struct

from shared import jws, private_files, tokens
from shared.device_keys import confirmation
from shared.errors import StartupError
from shared.key_sets import Revocations, VerifiedKeys, sign_key_set, sign_revocations, verify_key_set
from shared.limits import RENEWABLE_S, TOKEN_LIFETIME_S
from shared.tokens import Claims, Confirmation
from shared.wire import AccessToken, KeySet, PublicKey
from sync_server import clock

if TYPE_CHECKING:
    from pathlib import Path

REFRESH_KEY_BYTES = 32
# A retired key stays in the key set while tokens that it signed are good, or can be renewed at a node.
RETIRED_S = TOKEN_LIFETIME_S + RENEWABLE_S
# The key set is signed anew this often, in seconds, so that it never nears the end of its 30 days.
SIGNED_ANEW_S = 86_400


class _Retired(Struct, frozen=True):
    public: str
    until_s: int


class _Ring(Struct, frozen=True):
    """`<data>/keys/ring.json`: private keys in PEM; `version` is what the key set's `ver` says."""

    version: int
    current: str
    following: str
    retired: list[_Retired] = []


class SigningKeys:
    """Issues access tokens, and publishes what verifies them."""

    def __init__(self, folder: Path) -> None:
        """Raises ValueError when a key is damaged, OSError."""
        self._folder = folder
        self.issuer = (folder / "issuer").read_text("ascii")
        self.refresh_key = (folder / "refresh.key").read_bytes()
        if len(self.refresh_key) != REFRESH_KEY_BYTES:
            raise ValueError("refresh.key has another length")
        self._root = _private_key((folder / "root.pem").read_bytes())
        self.root = jws.raw_public_key(self._root.public_key())
        self._ring_file = folder / "ring.json"
        self._loaded: tuple[int, int] | None = None
        self._current()

    def issue(
        self, account_id: bytes, device_id: bytes, audience: str, key_thumbprint: bytes | None = None
    ) -> AccessToken:
        """Return a token of that device for `sync` or `node:<id>`, good for 24 hours.

        With the thumbprint of the device's key a node can renew it (rule K11).
        """
        now_s = clock.now_ms() // 1000
        claims = Claims(
            iss=self.issuer,
            aud=audience,
            sub=account_id.hex(),
            did=device_id.hex(),
            jti=secrets.token_hex(16),
            iat=now_s,
            nbf=now_s,
            exp=now_s + TOKEN_LIFETIME_S,
            cnf=None if key_thumbprint is None else Confirmation(confirmation(key_thumbprint)),
        )
        return AccessToken(access_token=tokens.sign(claims, self._current()), expires_at=claims.exp)

    def verify(self, token: str) -> Claims:
        """Return the claims of a valid sync token. Raises DomovoiError token_invalid or token_expired."""
        self._current()
        now_s = clock.now_ms() / 1000
        return tokens.verify_access(token, self._verified.keys, self.issuer, tokens.SYNC_AUDIENCE, now_s)

    def key_set(self) -> KeySet:
        """Return what `/.well-known/jwks.json` says: keys for anybody, and the same signed for those who pinned us."""
        self._current()
        if clock.now_ms() // 1000 - self._verified.issued_s > SIGNED_ANEW_S:
            self._publish()
        keys = [_as_jwk(jws.raw_public_key(key)) for key in self._verified.keys.values()]
        return KeySet(issuer=self.issuer, keys=keys, root=_as_jwk(self.root), signed=self._signed)

    def sign(self, revocations: Revocations) -> str:
        """Return the list as nodes take it (rule K9)."""
        return sign_revocations(revocations, self._current())

    def _current(self) -> Ed25519PrivateKey:
        """Return the key in use. `domovoi keys rotate` may have changed it since it was asked for last."""
        try:
            status = self._ring_file.stat()
        except FileNotFoundError:
            # The folder was removed under a running server: logins go on until its next start makes new keys.
            if self._loaded is None:
                raise
            return self._signing
        if self._loaded != (status.st_mtime_ns, status.st_ino):
            self._ring = msgspec.json.decode(self._ring_file.read_bytes(), type=_Ring)
            self._signing: Ed25519PrivateKey = _private_key(self._ring.current.encode())
            self._publish()
            self._loaded = (status.st_mtime_ns, status.st_ino)
        return self._signing

    def _publish(self) -> None:
        now_s = clock.now_ms() // 1000
        published = [_private_key(pem.encode()) for pem in (self._ring.current, self._ring.following)]
        ours = [jws.raw_public_key(key.public_key()) for key in published]
        retired = [jws.from_base64url(key.public) for key in self._ring.retired if key.until_s > now_s]
        self._signed = sign_key_set(self.issuer, self._ring.version, now_s, [*ours, *retired], self._root)
        self._verified: VerifiedKeys = verify_key_set(self._signed, self.root)


def load_or_create(folder: Path) -> SigningKeys:
    """Return the keys in `<data>/keys`, made on the first run. Raises StartupError when one is damaged, OSError."""
    private_files.make_folder(folder)
    private_files.create_once(folder / "issuer", f"domovoi-{secrets.token_hex(8)}".encode())
    private_files.create_once(folder / "refresh.key", secrets.token_bytes(REFRESH_KEY_BYTES))
    private_files.create_once(folder / "root.pem", _new_private_key())
    ring = _Ring(clock.now_ms() // 1000, _new_private_key().decode(), _new_private_key().decode())
    private_files.create_once(folder / "ring.json", msgspec.json.encode(ring))
    try:
        return SigningKeys(folder)
    except (ValueError, UnsupportedAlgorithm) as error:  # msgspec's errors too
        raise StartupError(
            f"A key in {folder} is damaged. Put it back from a backup, or remove the folder to end every login; "
            "PCs that were paired from afar then have to be paired again."
        ) from error


def rotate(folder: Path, *, at_once: bool = False) -> None:
    """Put the next key into use. A running server notices with its next request.

    `at_once` trusts neither the key in use nor the next one any more: tokens given out before are refused from now on,
    and devices renew theirs. Raises StartupError when there are no keys, or one is damaged.
    """
    load_or_create(folder)
    path = folder / "ring.json"
    ring = msgspec.json.decode(path.read_bytes(), type=_Ring)
    now_s = clock.now_ms() // 1000
    old = jws.raw_public_key(_private_key(ring.current.encode()).public_key())
    retired = [key for key in ring.retired if key.until_s > now_s]
    changed = _Ring(
        # Greater than any version that a backup could have lost.
        version=max(ring.version + 1, now_s),
        current=_new_private_key().decode() if at_once else ring.following,
        following=_new_private_key().decode(),
        retired=[] if at_once else [*retired, _Retired(jws.base64url(old), now_s + RETIRED_S)],
    )
    private_files.replace(path, msgspec.json.encode(changed))


def _as_jwk(raw: bytes) -> PublicKey:
    return PublicKey(x=jws.base64url(raw), kid=jws.thumbprint(raw))


def _private_key(pem: bytes) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return key


def _new_private_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
