"""The server's own secrets: the key that signs tokens, its name in them, and the key of refresh tokens."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from shared import tokens
from shared.errors import StartupError
from shared.limits import TOKEN_LIFETIME_S
from shared.tokens import Claims
from shared.wire import AccessToken, KeySet, PublicKey
from sync_server import clock
from sync_server.private_files import create_once, make_private_folder

if TYPE_CHECKING:
    from pathlib import Path

REFRESH_KEY_BYTES = 32


class SigningKeys:
    """Issues access tokens and publishes the key that verifies them."""

    def __init__(self, issuer: str, signing: Ed25519PrivateKey, refresh_key: bytes) -> None:
        self.issuer = issuer
        self.refresh_key = refresh_key
        self._signing = signing
        public = signing.public_key()
        raw = tokens.raw_public_key(public)
        key_id = tokens.thumbprint(raw)
        self.public_keys = {key_id: public}
        self.key_set = KeySet(issuer=issuer, keys=[PublicKey(x=tokens.base64url(raw), kid=key_id)])

    def issue(self, account_id: bytes, device_id: bytes, audience: str) -> AccessToken:
        """Return a token of that device for `sync` or `node:<id>`, good for 24 hours."""
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
        )
        return AccessToken(access_token=tokens.sign(claims, self._signing), expires_at=claims.exp)

    def verify(self, token: str) -> Claims:
        """Return the claims of a valid sync token. Raises DomovoiError token_invalid or token_expired."""
        now_s = clock.now_ms() / 1000
        return tokens.verify_access(token, self.public_keys, self.issuer, tokens.SYNC_AUDIENCE, now_s)


def load_or_create(folder: Path) -> SigningKeys:
    """Return the keys in `<data>/keys`, made on the first run. Raises StartupError when one is damaged, OSError."""
    make_private_folder(folder)
    issuer = create_once(folder / "issuer", f"domovoi-{secrets.token_hex(8)}".encode())
    refresh_key = create_once(folder / "refresh.key", secrets.token_bytes(REFRESH_KEY_BYTES))
    pem = create_once(folder / "signing.pem", _new_private_key())
    try:
        signing = load_pem_private_key(pem, password=None)
        if not isinstance(signing, Ed25519PrivateKey) or len(refresh_key) != REFRESH_KEY_BYTES:
            raise ValueError("not the key that belongs here")
        return SigningKeys(issuer.decode("ascii"), signing, refresh_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise StartupError(
            f"A key in {folder} is damaged. Put it back from a backup, or remove the folder to end every login."
        ) from error


def forget_signing_key(folder: Path) -> None:
    """Have the next start make another signing key, so that no token given out before is valid any more."""
    (folder / "signing.pem").unlink(missing_ok=True)


def _new_private_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
