"""Identifiers: bytes inside the protocol, lower-case hex in JSON, tokens and addresses."""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

from shared.limits import ENTITY_ID_BYTES, NODE_ID_BYTES

UUID7_RANDOM_BYTES = 10
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


def uuid7(now_ms: int, randomness: bytes) -> bytes:
    """Return a UUIDv7 (RFC 9562, section 5.7): 48 bits of `now_ms`, then 10 bytes of `randomness`."""
    if len(randomness) != UUID7_RANDOM_BYTES:
        raise ValueError(f"a UUIDv7 takes {UUID7_RANDOM_BYTES} random bytes")
    tail = bytearray(randomness)
    tail[0] = (tail[0] & 0x0F) | 0x70
    tail[2] = (tail[2] & 0x3F) | 0x80
    return now_ms.to_bytes(6, "big") + bytes(tail)


def uuid7_ms(identifier: bytes) -> int:
    """Return the milliseconds since 1970 at which a UUIDv7 was made."""
    return int.from_bytes(identifier[:6], "big")


def node_id(public_key: bytes) -> bytes:
    """Return the id of the node whose raw Ed25519 public key this is: the key certifies the id."""
    return hashlib.sha256(b"domovoi/1 node" + public_key).digest()[:NODE_ID_BYTES]


def from_hex(text: str, size: int = ENTITY_ID_BYTES) -> bytes:
    """Decode exactly `size` bytes of lower-case hex. Raises ValueError for anything else."""
    if len(text) != 2 * size or _HEX.fullmatch(text) is None:
        raise ValueError(f"expected {2 * size} lower-case hex digits")
    return bytes.fromhex(text)


def to_uuid(identifier: bytes) -> UUID:
    """Return the identifier as a UUID, for people."""
    return UUID(bytes=identifier)
