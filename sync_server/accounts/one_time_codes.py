"""Codes that people type: Crockford's alphabet, compared without case, dashes, spaces and look-alikes."""

from __future__ import annotations

import secrets

from shared.pairing import plain_code

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_code(groups: int) -> str:
    """Return `groups` groups of four characters, 20 random bits each: `K0RA-7T4M-9XQD`."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(groups))


def equal(given: str, expected: str) -> bool:
    """Compare two codes in constant time."""
    return secrets.compare_digest(plain_code(given).encode(), plain_code(expected).encode())
