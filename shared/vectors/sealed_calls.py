"""Vectors of sealed calls (rules H). Calls are sealed here by RFC 9180 itself with a given ephemeral key, which HPKE's
own library does not take; the library opens them in tests/shared/test_sealing.py.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared import jws
from shared.identifiers import node_id
from shared.limits import SEALED_BLOCK_BYTES, SEALING_KEY_KEPT_S
from shared.sealed_wire import SealedCall, SealedReply
from shared.sealing import SEALING_KEY_TYPE, ReplySealer, sign_sealing_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

SEED = 8461
NOW_S = 1_700_000_000
_KEM = b"KEM" + (0x0020).to_bytes(2)
_HPKE = b"HPKE" + b"".join(number.to_bytes(2) for number in (0x0020, 0x0001, 0x0002))
_CALLS = [
    SealedCall("GET", "/v1/status", bytes(32), 0, "a.b.c"),
    SealedCall("POST", "/v1/answers", bytes(range(32)), 2**48 - 1, "a.b.c", b"Hello \xff\x80"),
    SealedCall("GET", "/v1/answers/00/events?after=1", b"\x07" * 32, 2**53 - 1, "", b"", "application/json", "00:1"),
    SealedCall("POST", "/v1/answers", b"\x80" * 32, 1, "t" * 700, "Привет".encode() * 50),
]


def call_vectors() -> list[dict[str, Any]]:
    """Return calls sealed to a key, and what is in them."""
    rng = random.Random(SEED)
    vectors = []
    for number, call in enumerate(_CALLS):
        key = X25519PrivateKey.from_private_bytes(rng.randbytes(32))
        name = rng.randbytes(16).hex()
        plaintext = msgspec.msgpack.encode(call) + b"\x80"
        plaintext += bytes(-len(plaintext) % SEALED_BLOCK_BYTES)
        request = _sealed(key.public_key(), f"domovoi/1 call {name}".encode(), plaintext, rng.randbytes(32))
        given = {"private_key": key.private_bytes_raw().hex(), "node_id": name, "request": request.hex()}
        vectors.append(_vector(f"call-{number}", f"{call.method} {call.path}", given, described(call)))
    return vectors


def reply_vectors() -> list[dict[str, Any]]:
    """Return replies in chunks, and what is in them; null from where they do not open."""
    rng = random.Random(SEED + 1)
    call, request, nonce = _CALLS[1], rng.randbytes(200), rng.randbytes(32)
    head = msgspec.msgpack.encode(SealedReply(200, "text/event-stream"))
    plain = [head, b"id: 1\n\n", b"", bytes(63), bytes(64), b"\x80", "Привет".encode()]
    sealer = ReplySealer(call, request, nonce)
    chunks = [sealer.seal(text, is_final=number == len(plain) - 1) for number, text in enumerate(plain)]
    opened: list[str | None] = [text.hex() for text in plain]
    cases: list[tuple[str, list[bytes], list[str | None]]] = [
        ("whole", chunks, opened),
        ("cut", chunks[:-1], opened[:-1]),
        ("a chunk is missing", [*chunks[:2], *chunks[3:]], [*opened[:2], *[None] * (len(chunks) - 3)]),
        ("two in another order", [*chunks[:2], chunks[3], chunks[2]], [*opened[:2], None, None]),
        ("one twice", [*chunks[:2], chunks[1]], [*opened[:2], None]),
        ("another flag", [*chunks[:2], b"\x01" + chunks[2][1:]], [*opened[:2], None]),
        ("another bit", [*chunks[:2], chunks[2][:-1] + bytes([chunks[2][-1] ^ 1])], [*opened[:2], None]),
        ("another nonce", [bytes(32) + chunks[0][32:]], [None]),
        ("something after the end", [*chunks, chunks[-1]], [*opened, None]),
        ("nothing", [b""], [None]),
    ]
    given = {"secret": call.reply_secret.hex(), "request": request.hex()}
    return [
        _vector(f"reply-{number}", comment, {**given, "chunks": [chunk.hex() for chunk in sealed]}, result)
        for number, (comment, sealed, result) in enumerate(cases)
    ]


def key_vectors() -> list[dict[str, Any]]:
    """Return records of keys, and the key in them; null where they are not to be trusted."""
    rng = random.Random(SEED + 2)
    node, other = (Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)) for _ in range(2))
    raw = jws.raw_public_key(node.public_key())
    name = node_id(raw).hex()
    sealing = X25519PrivateKey.from_private_bytes(rng.randbytes(32)).public_key()
    good = sign_sealing_key(sealing, node, NOW_S, 1)
    key = jws.base64url(_raw(sealing))
    usual = {"iss": name, "key": key, "iat": NOW_S, "exp": NOW_S + SEALING_KEY_KEPT_S}
    cases = [
        ("good", good.signed, NOW_S, True),
        ("its last second", good.signed, NOW_S + SEALING_KEY_KEPT_S + 59, True),
        ("over", good.signed, NOW_S + SEALING_KEY_KEPT_S + 60, False),
        ("another node's", sign_sealing_key(sealing, other, NOW_S, 1).signed, NOW_S, False),
        (
            "good for too long",
            jws.sign({**usual, "exp": NOW_S + SEALING_KEY_KEPT_S + 1}, node, SEALING_KEY_TYPE),
            NOW_S,
            False,
        ),
        ("another name", jws.sign({**usual, "iss": "0" * 32}, node, SEALING_KEY_TYPE), NOW_S, False),
        ("another kind", jws.sign(usual, node, "at+jwt"), NOW_S, False),
        ("a member more", jws.sign({**usual, "more": 1}, node, SEALING_KEY_TYPE), NOW_S, False),
        ("a member less", jws.sign({"iss": name, "key": key, "iat": NOW_S}, node, SEALING_KEY_TYPE), NOW_S, False),
        ("no time", jws.sign({**usual, "exp": "soon"}, node, SEALING_KEY_TYPE), NOW_S, False),
        ("a short key", jws.sign({**usual, "key": key[:40]}, node, SEALING_KEY_TYPE), NOW_S, False),
        ("no record", "x", NOW_S, False),
    ]
    vectors = []
    for number, (comment, signed, now_s, is_good) in enumerate(cases):
        given = {"node_key": good.node_key, "signed": signed, "node_id": name, "now_s": now_s}
        vectors.append(_vector(f"key-{number}", comment, given, _raw(sealing).hex() if is_good else None))
    stranger = {"node_key": jws.base64url(jws.raw_public_key(other.public_key())), "node_id": name, "now_s": NOW_S}
    lie = jws.sign(usual, other, SEALING_KEY_TYPE)
    return [*vectors, _vector("key-stranger", "a stranger's key under the name", {**stranger, "signed": lie}, None)]


def described(call: SealedCall) -> dict[str, Any]:
    """Return a call as JSON with hex bytes."""
    return {
        name: value.hex() if isinstance(value := getattr(call, name), bytes) else value
        for name in SealedCall.__struct_fields__
    }


def _sealed(recipient: X25519PublicKey, information: bytes, plaintext: bytes, ephemeral: bytes) -> bytes:
    """Return HPKE's single-shot message in base mode (RFC 9180, 4.1, 5.1 and 6.1)."""
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = _raw(private.public_key())
    prk = _extract(_KEM, b"", b"eae_prk", private.exchange(recipient))
    secret = _expand(_KEM, prk, b"shared_secret", enc + _raw(recipient), 32)
    context = b"\x00" + _extract(_HPKE, b"", b"psk_id_hash", b"") + _extract(_HPKE, b"", b"info_hash", information)
    scheduled = _extract(_HPKE, secret, b"secret", b"")
    key = _expand(_HPKE, scheduled, b"key", context, 32)
    nonce = _expand(_HPKE, scheduled, b"base_nonce", context, 12)
    return enc + AESGCM(key).encrypt(nonce, plaintext, b"")


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return HKDF.extract(SHA256(), salt or bytes(32), b"HPKE-v1" + suite + label + material)


def _expand(suite: bytes, prk: bytes, label: bytes, information: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2) + b"HPKE-v1" + suite + label + information
    return HKDFExpand(SHA256(), size, labelled).derive(prk)


def _raw(key: X25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _vector(identifier: str, comment: str, given: Any, result: Any) -> dict[str, Any]:
    return {"id": identifier, "comment": comment, "input": given, "result": result}
