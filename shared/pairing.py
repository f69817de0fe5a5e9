"""How a PC and a server that share no folder come to trust each other (rules P1-P6).

The six digits are the defence against somebody in between who speaks to each side in the other's name. They cover both
nonces, and the PC is bound to its own by a commitment before it hears the server's: whoever is in between can't look
for a key that gives the same digits, and has one chance in a million.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidSignature

from shared.jws import public_key_from

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CHECK_DIGITS = 6
_LOOK_ALIKES = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None})


class Transcript(NamedTuple):
    """All that both sides must have seen alike.

    `root` is the server's root key, `public_key` the node's Ed25519 key and `sealing_key` its X25519 key if it has one,
    32 raw bytes each; `code_hash` is `hashed_code` of the code; both nonces have PAIRING_NONCE_BYTES.
    """

    root: bytes
    code_hash: bytes
    public_key: bytes
    sealing_key: bytes | None
    name: str
    server_nonce: bytes
    node_nonce: bytes

    def canonical(self) -> bytes:
        """Return the bytes that are signed: nothing in them can be read in two ways."""
        name = self.name.encode("utf-8")
        return b"".join(
            (
                b"domovoi/1 pairing",
                self.root,
                self.code_hash,
                self.public_key,
                b"\0" if self.sealing_key is None else b"\1" + self.sealing_key,
                len(name).to_bytes(4, "big") + name,
                self.server_nonce,
                self.node_nonce,
            )
        )

    def check(self) -> str:
        """Return the six digits that both sides show, as `123 456`."""
        digest = hashlib.sha256(b"domovoi/1 check" + self.canonical()).digest()
        digits = f"{int.from_bytes(digest[:8], 'big') % 10**CHECK_DIGITS:0{CHECK_DIGITS}}"
        return f"{digits[:3]} {digits[3:]}"

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """Return the node's proof that it has the key, 64 bytes."""
        return key.sign(self.canonical())

    def is_signed(self, signature: bytes) -> bool:
        """Say whether that is the proof. Raises ValueError for a public key that can't be one."""
        try:
            public_key_from(self.public_key).verify(signature, self.canonical())
        except InvalidSignature:
            return False
        return True


def plain_code(code: str) -> str:
    """Return a code that a person typed as it is compared: without case, dashes, spaces and look-alikes."""
    return "".join(code.split()).upper().translate(_LOOK_ALIKES)


def hashed_code(code: str) -> bytes:
    """Return what is stored and signed of a code: 32 bytes. Codes are random, so a fast hash will do."""
    return hashlib.sha256(b"domovoi/1 code" + plain_code(code).encode("utf-8", "surrogatepass")).digest()


def commitment(node_nonce: bytes) -> bytes:
    """Return what binds the node to a nonce that it does not tell yet, 32 bytes."""
    return hashlib.sha256(b"domovoi/1 commitment" + node_nonce).digest()
