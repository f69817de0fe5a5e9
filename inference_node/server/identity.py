"""Who this node is: an Ed25519 key made once, which certifies the node's id."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from shared import private_files
from shared.errors import StartupError
from shared.identifiers import node_id
from shared.jws import base64url, raw_public_key
from shared.limits import NODE_ASSERTION_LIFETIME_S
from shared.tokens import NODE_LOGIN_AUDIENCE, NODE_TYPE, NodeClaims, sign

if TYPE_CHECKING:
    from pathlib import Path


class Identity(NamedTuple):
    """`node_id` is lower-case hex, `name` is for people."""

    node_id: str
    name: str
    private_key: Ed25519PrivateKey

    def assertion(self, now_s: float, jti: str) -> str:
        """Return the node's login (rule K6): good for a minute and, by its `jti`, once."""
        now = int(now_s)
        claims = NodeClaims(
            iss=self.node_id,
            aud=NODE_LOGIN_AUDIENCE,
            jti=jti,
            iat=now,
            nbf=now,
            exp=now + NODE_ASSERTION_LIFETIME_S,
        )
        return sign(claims, self.private_key, NODE_TYPE)


def ensure_identity(data: Path, name: str) -> Identity:
    """Return the identity in `<data>/node/identity.pem`, making it at the first start. Raises StartupError."""
    path = data / "node" / "identity.pem"
    try:
        private_files.make_folder(path.parent)
        try:
            key = Ed25519PrivateKey.generate()
            private_files.create(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        except FileExistsError:
            key = _load(path)
    except OSError as error:
        raise StartupError(
            f"The node can't keep its key at {path} ({error.strerror}). Give yourself permission to the data folder, "
            "or choose another with --data or DOMOVOI_DATA."
        ) from error
    return Identity(node_id(raw_public_key(key.public_key())).hex(), name, key)


def enrol(data: Path, identity: Identity) -> None:
    """Introduce the node to a server that shares this data folder."""
    introduction = {
        "node_id": identity.node_id,
        "name": identity.name,
        "public_key": base64url(raw_public_key(identity.private_key.public_key())),
    }
    folder = data / "enrolment"
    private_files.make_folder(folder)
    private_files.replace(folder / f"{identity.node_id}.json", msgspec.json.encode(introduction))


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise _unreadable(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _unreadable(path)
    return key


def _unreadable(path: Path) -> StartupError:
    return StartupError(
        f"{path} is not an Ed25519 key. Restore it from a backup, or move it away: the node then gets a new identity "
        "and has to be paired again."
    )
