"""Who this node is: an Ed25519 key made on first start, and its introduction to a server on the same machine."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from inference_node.private_files import create_once, make_private_folder, replace
from shared.errors import StartupError
from shared.identifiers import node_id
from shared.limits import NODE_ASSERTION_LIFETIME_S
from shared.tokens import NODE_LOGIN_AUDIENCE, NODE_TYPE, NodeClaims, base64url, raw_public_key, sign

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "identity.pem"


@dataclass(frozen=True)
class Identity:
    """A node's key. `node_id` is 32 lower-case hex digits derived from it, `name` is for people."""

    node_id: str
    name: str
    key: Ed25519PrivateKey

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes of the public key."""
        return raw_public_key(self.key.public_key())

    def assertion(self, now_s: float) -> str:
        """Return a fresh login for this node, good once within a minute (rule K6)."""
        issued = int(now_s)
        claims = NodeClaims(
            iss=self.node_id,
            aud=NODE_LOGIN_AUDIENCE,
            jti=secrets.token_urlsafe(16),
            iat=issued,
            nbf=issued,
            exp=issued + NODE_ASSERTION_LIFETIME_S,
        )
        return sign(claims, self.key, NODE_TYPE)


def ensure_identity(data: Path, name: str) -> Identity:
    """Return this node's identity, made on first use. Raises StartupError when its file can't be used."""
    path = data / "node" / _FILE
    try:
        make_private_folder(path.parent)
        pem = path.read_bytes() if path.exists() else create_once(path, _new_pem())
        key = load_pem_private_key(pem, password=None)
    except OSError as error:
        raise StartupError(
            f"The folder {path.parent} can't be used ({error.strerror}). "
            "Give yourself permission, or choose another data folder with --data or DOMOVOI_DATA."
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StartupError(_unusable(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StartupError(_unusable(path))
    return Identity(node_id(raw_public_key(key.public_key())).hex(), name, key)


def enrol(data: Path, identity: Identity) -> None:
    """Introduce the node to a server that shares the data folder. Raises StartupError."""
    path = data / "enrolment" / f"{identity.node_id}.json"
    introduction = {
        "node_id": identity.node_id,
        "name": identity.name,
        "public_key": base64url(identity.public_key),
    }
    try:
        make_private_folder(path.parent)
        replace(path, msgspec.json.encode(introduction))
    except OSError as error:
        raise StartupError(
            f"The folder {path.parent} can't be written to ({error.strerror}). Give yourself permission."
        ) from error


def _new_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _unusable(path: Path) -> str:
    return f"{path} is not this node's key any more. Restore it from a backup, or move it away to make a new one."
