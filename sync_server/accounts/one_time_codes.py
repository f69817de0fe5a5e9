"""Codes that people type: Crockford's alphabet, compared without case, dashes, spaces and look-alikes."""

from __future__ import annotations

import hashlib
import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOOK_ALIKES = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None})


def new_code(groups: int) -> str:
    """Return `groups` groups of four characters, 20 random bits each: `K0RA-7T4M-9XQD`."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(groups))


def plain(code: str) -> str:
    """Return the code as it is compared."""
    return "".join(code.split()).upper().translate(_LOOK_ALIKES)


def equal(given: str, expected: str) -> bool:
    """Compare two codes in constant time."""
    return secrets.compare_digest(plain(given).encode(), plain(expected).encode())


def hashed(code: str) -> bytes:
    """Return what is stored of a code: 32 bytes. Codes have 80 random bits, so a fast hash will do."""
    return hashlib.sha256(b"domovoi/1 code" + plain(code).encode()).digest()
