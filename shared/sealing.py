"""Sealed calls: what an app asks of a node is read by that node alone, whoever carries it (rules H).

A call is one single-shot HPKE message (RFC 9180, base mode) to the node's key of the day; its reply is chunks under a
key that only maker and node can work out.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared import jws
from shared.identifiers import node_id as id_of
from shared.limits import (
    MAX_SEALED_BYTES,
    MAX_SEALING_KEY_BYTES,
    SEALED_BLOCK_BYTES,
    SEALING_KEY_BYTES,
    SEALING_KEY_KEPT_S,
    SECRET_BYTES,
    TOKEN_LEEWAY_S,
)
from shared.sealed_wire import SealedCall, SealingKeys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

SEALED = "application/domovoi-sealed"
SEALING_KEY_TYPE = "sealing+jwt"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_CALL, _REPLY = b"domovoi/1 call ", b"domovoi/1 reply"
_COUNTER_BYTES = 12
_END = b"\x80"
_MORE, _FINAL = b"\x00", b"\x01"
_MEMBERS = {"iss", "key", "iat", "exp"}


class CannotOpen(ValueError):
    """What came was not sealed for this reader, or is no longer what was sealed."""


def seal_call(key: X25519PublicKey, node_id: str, call: SealedCall) -> bytes:
    """Return the call sealed to a node: 32 bytes of an ephemeral key, then the ciphertext."""
    return _SUITE.encrypt(_padded(msgspec.msgpack.encode(call)), key, info=_CALL + node_id.encode())


def open_call(keys: Iterable[X25519PrivateKey], node_id: str, request: bytes) -> SealedCall:
    """Return what was sealed to one of the node's keys. Raises CannotOpen."""
    if len(request) > MAX_SEALED_BYTES:
        raise CannotOpen("too long")
    for key in keys:
        try:
            opened = _SUITE.decrypt(request, key, info=_CALL + node_id.encode())
        except InvalidTag:
            continue
        try:
            return msgspec.msgpack.decode(_unpadded(opened), type=SealedCall)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CannotOpen("sealed, but no call") from error
    raise CannotOpen("sealed to another key")


def ephemeral_key(request: bytes) -> bytes:
    """Return what no two sealed calls have in common: the 32 bytes of HPKE's `enc`."""
    return request[:SEALING_KEY_BYTES]


class ReplySealer:
    """Seals a reply, chunk by chunk. `nonce` is 32 fresh bytes, which go ahead of the first chunk in the clear."""

    def __init__(self, call: SealedCall, request: bytes, nonce: bytes) -> None:
        self._cipher = _cipher(call.reply_secret, request, nonce)
        self._ahead = nonce
        self._number = 0

    def seal(self, plaintext: bytes, *, is_final: bool) -> bytes:
        """Return the next chunk as it travels: whether it is the last one, then the ciphertext."""
        flag = _FINAL if is_final else _MORE
        ciphertext = self._cipher.encrypt(_counter(self._number), _padded(plaintext), flag)
        self._number += 1
        sealed, self._ahead = self._ahead + flag + ciphertext, b""
        return sealed


class ReplyOpener:
    """Opens the chunks of a reply in their order. What is cut, changed, repeated or missing is never passed on."""

    def __init__(self, call: SealedCall, request: bytes) -> None:
        self._secret, self._request = call.reply_secret, request
        self._cipher: AESGCM | None = None
        self._number = 0
        self.is_complete = False

    def open(self, sealed: bytes) -> bytes:
        """Return the next chunk; `is_complete` tells whether it was the last. Raises CannotOpen, and then for ever."""
        if self.is_complete or self._number < 0:
            raise CannotOpen("the reply is over")
        number, self._number = self._number, -1
        if self._cipher is None:
            nonce, sealed = sealed[:SECRET_BYTES], sealed[SECRET_BYTES:]
            self._cipher = _cipher(self._secret, self._request, nonce)
        flag, ciphertext = sealed[:1], sealed[1:]
        try:
            plaintext = _unpadded(self._cipher.decrypt(_counter(number), ciphertext, flag))
        except (InvalidTag, ValueError) as error:
            raise CannotOpen("not the chunk that was sealed") from error
        self.is_complete = flag == _FINAL
        self._number = number + 1
        return plaintext


def sign_sealing_key(
    public_key: X25519PublicKey, node_key: Ed25519PrivateKey, issued_s: int, epoch: int
) -> SealingKeys:
    """Return the node's key of the day, signed for as long as the node keeps its private half."""
    raw = jws.raw_public_key(node_key.public_key())
    payload = {
        "iss": id_of(raw).hex(),
        "key": jws.base64url(public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)),
        "iat": issued_s,
        "exp": issued_s + SEALING_KEY_KEPT_S,
    }
    return SealingKeys(jws.base64url(raw), jws.sign(payload, node_key, SEALING_KEY_TYPE), epoch)


def verify_sealing_key(keys: SealingKeys, node_id: str, now_s: float) -> X25519PublicKey:
    """Return the key to seal with, if the node with that id has signed it and it is still good. Raises CannotOpen."""
    try:
        raw = jws.from_base64url(keys.node_key)
        ring = {jws.thumbprint(raw): jws.public_key_from(raw)}
        payload = jws.verify(keys.signed, ring, SEALING_KEY_TYPE, MAX_SEALING_KEY_BYTES)
        if id_of(raw).hex() != node_id or set(payload) != _MEMBERS or payload["iss"] != node_id:
            raise CannotOpen("another node's key")
        issued_s, expires_s = payload["iat"], payload["exp"]
        if type(issued_s) is not int or type(expires_s) is not int or not isinstance(payload["key"], str):
            raise CannotOpen("the key's record is malformed")
        if expires_s - issued_s > SEALING_KEY_KEPT_S or expires_s + TOKEN_LEEWAY_S <= now_s:
            raise CannotOpen("the key's days are over")
        return X25519PublicKey.from_public_bytes(jws.from_base64url(payload["key"]))
    except ValueError as error:
        raise CannotOpen(str(error)) from error


def _cipher(secret: bytes, request: bytes, nonce: bytes) -> AESGCM:
    information = _REPLY + hashlib.sha256(request).digest()
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=nonce, info=information).derive(secret))


def _counter(number: int) -> bytes:
    return number.to_bytes(_COUNTER_BYTES)


def _padded(plaintext: bytes) -> bytes:
    """Return the plaintext with a mark and zeros behind it, to whole blocks: lengths tell less (ISO/IEC 7816-4)."""
    return plaintext + _END + bytes(-(len(plaintext) + 1) % SEALED_BLOCK_BYTES)


def _unpadded(padded: bytes) -> bytes:
    plaintext, mark, rest = padded.rpartition(_END)
    if not mark or any(rest) or len(padded) % SEALED_BLOCK_BYTES:
        raise CannotOpen("the padding is wrong")
    return plaintext
