"""Sealed calls: what was sealed comes out, and whatever else comes in is refused (rules H)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.identifiers import node_id
from shared.jws import raw_public_key
from shared.limits import MAX_SEALED_BYTES, SEALED_BLOCK_BYTES
from shared.sealed_wire import SealedCall, SealingKeys
from shared.sealing import (
    CannotOpen,
    ReplyOpener,
    ReplySealer,
    ephemeral_key,
    open_call,
    seal_call,
    sign_sealing_key,
    verify_sealing_key,
)
from shared.vectors.sealed_calls import described
from tests.shared.test_vectors import load

KEY = X25519PrivateKey.from_private_bytes(b"\x01" * 32)
NODE = "ab" * 16
CALL = SealedCall("POST", "/v1/answers", b"\x05" * 32, 7, "a.b.c", b"what nobody else may read")
REQUEST = seal_call(KEY.public_key(), NODE, CALL)
NONCE = b"\x09" * 32
PLAIN = [b"head", b"", b"one\n\n" * 20, bytes(64), b"\x80\x00", b"last"]


def chunks() -> list[bytes]:
    sealer = ReplySealer(CALL, REQUEST, NONCE)
    return [sealer.seal(text, is_final=number == len(PLAIN) - 1) for number, text in enumerate(PLAIN)]


CHUNKS = chunks()


def opened(sealed: list[bytes]) -> tuple[list[bytes], bool]:
    """Return what comes out before something is refused, and whether the reply was whole."""
    opener, plain = ReplyOpener(CALL, REQUEST), []
    for chunk in sealed:
        try:
            plain.append(opener.open(chunk))
        except CannotOpen:
            # Once refused, nothing is taken any more: not even what was due.
            for late in CHUNKS:
                with pytest.raises(CannotOpen):
                    opener.open(late)
            return plain, False
    return plain, opener.is_complete


@given(st.binary(max_size=3000), st.text(max_size=200), st.integers(0, 2**53 - 1))
def test_H1_H2_what_was_sealed_is_opened_and_its_length_tells_its_blocks_alone(
    body: bytes, token: str, epoch: int
) -> None:
    call = SealedCall("POST", "/v1/answers", bytes(32), epoch, token, body)
    request = seal_call(KEY.public_key(), NODE, call)
    assert open_call([X25519PrivateKey.generate(), KEY], NODE, request) == call
    assert (len(request) - 32 - 16) % SEALED_BLOCK_BYTES == 0
    assert body not in request or len(body) < 4


def test_H1_two_seals_of_one_call_have_nothing_in_common() -> None:
    again = seal_call(KEY.public_key(), NODE, CALL)
    assert ephemeral_key(again) != ephemeral_key(REQUEST)
    assert again[32:] != REQUEST[32:]


@given(st.integers(0, len(REQUEST) - 1), st.integers(1, 255), st.sampled_from(["flip", "cut", "insert"]))
def test_H1_a_call_that_was_changed_is_refused(at: int, by: int, how: str) -> None:
    changed = {
        "flip": REQUEST[:at] + bytes([REQUEST[at] ^ by]) + REQUEST[at + 1 :],
        "cut": REQUEST[:at],
        "insert": REQUEST[:at] + bytes([by]) + REQUEST[at:],
    }[how]
    # X25519 passes over the top bit of a public key, and HPKE binds the bytes of `enc` all the same.
    with pytest.raises(CannotOpen):
        open_call([KEY], NODE, changed)


@given(st.binary(max_size=300))
def test_H1_what_nobody_sealed_is_refused(request: bytes) -> None:
    with pytest.raises(CannotOpen):
        open_call([KEY], NODE, request)


def test_H1_a_call_opens_for_one_node_and_one_key_alone() -> None:
    with pytest.raises(CannotOpen):
        open_call([KEY], "cd" * 16, REQUEST)
    with pytest.raises(CannotOpen):
        open_call([X25519PrivateKey.generate()], NODE, REQUEST)
    with pytest.raises(CannotOpen):
        open_call([], NODE, REQUEST)


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"\x80" + bytes(63),
        bytes(64),
        b"x" * 64,
        b"\x80",
        msgspec.msgpack.encode({"method": "PUT", "path": "/"}) + b"\x80" + bytes(40),
        b"\xc1" + b"\x80" + bytes(62),
        b"\x91" * 63 + b"\x80",
    ],
)
def test_H2_what_is_no_call_inside_is_refused(plaintext: bytes) -> None:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    request = suite.encrypt(plaintext, KEY.public_key(), info=f"domovoi/1 call {NODE}".encode())
    with pytest.raises(CannotOpen):
        open_call([KEY], NODE, request)


def test_H6_a_call_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(CannotOpen):
        open_call([KEY], NODE, bytes(MAX_SEALED_BYTES + 1))


def test_H5_a_reply_is_opened_in_its_order() -> None:
    assert opened(CHUNKS) == (PLAIN, True)
    assert {len(chunk) % SEALED_BLOCK_BYTES for chunk in CHUNKS[1:]} == {1 + 16}


@given(st.lists(st.integers(0, len(CHUNKS) - 1), max_size=9))
def test_H5_chunks_dropped_doubled_or_in_another_order_give_a_beginning_and_no_whole(order: list[int]) -> None:
    plain, is_whole = opened([CHUNKS[number] for number in order])
    assert plain == PLAIN[: len(plain)]
    assert is_whole == (order == list(range(len(CHUNKS))))


@given(st.integers(0, len(CHUNKS) - 1), st.integers(min_value=0), st.integers(1, 255), st.sampled_from(["flip", "cut"]))
def test_H5_a_chunk_that_was_changed_anywhere_is_refused(number: int, at: int, by: int, how: str) -> None:
    chunk = CHUNKS[number]
    at %= len(chunk)
    changed = chunk[:at] if how == "cut" else chunk[:at] + bytes([chunk[at] ^ by]) + chunk[at + 1 :]
    assert opened([*CHUNKS[:number], changed, *CHUNKS[number + 1 :]]) == (PLAIN[:number], False)


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_H5_nobody_else_can_reply(sealed: list[bytes]) -> None:
    assert opened(sealed) == ([], False)


@settings(max_examples=30)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_H5_a_reply_to_another_call_is_none(secret: bytes, nonce: bytes) -> None:
    other = msgspec.structs.replace(CALL, reply_secret=secret)
    assert opened([ReplySealer(other, REQUEST, nonce).seal(b"x", is_final=True)]) == ([], False)
    again = seal_call(KEY.public_key(), NODE, CALL)
    assert opened([ReplySealer(CALL, again, nonce).seal(b"x", is_final=True)]) == ([], False)


def test_H3_a_key_is_the_nodes_until_its_days_are_over() -> None:
    node = Ed25519PrivateKey.generate()
    name = node_id(raw_public_key(node.public_key())).hex()
    published = sign_sealing_key(KEY.public_key(), node, 1000, 5)
    assert verify_sealing_key(published, name, 1000) == KEY.public_key()
    with pytest.raises(CannotOpen):
        verify_sealing_key(published, NODE, 1000)
    with pytest.raises(CannotOpen):
        verify_sealing_key(published, name, 1000 + 2 * 86_400 + 60)


@pytest.mark.parametrize(("given", "result"), [*load("sealed_calls"), *load("from_app/sealed_calls")])
def test_H1_H2_call_vectors(given: dict[str, str], result: dict[str, Any]) -> None:
    key = X25519PrivateKey.from_private_bytes(bytes.fromhex(given["private_key"]))
    assert described(open_call([key], given["node_id"], bytes.fromhex(given["request"]))) == result


@pytest.mark.parametrize(("given", "result"), load("sealed_replies"))
def test_H5_reply_vectors(given: dict[str, Any], result: list[str | None]) -> None:
    call = msgspec.structs.replace(CALL, reply_secret=bytes.fromhex(given["secret"]))
    opener, plain = ReplyOpener(call, bytes.fromhex(given["request"])), list[str | None]()
    for chunk in given["chunks"]:
        try:
            plain.append(opener.open(bytes.fromhex(chunk)).hex())
        except CannotOpen:
            plain.append(None)
    assert plain == result


@pytest.mark.parametrize(("given", "result"), load("sealing_keys"))
def test_H3_key_vectors(given: dict[str, Any], result: str | None) -> None:
    keys = SealingKeys(given["node_key"], given["signed"], 1)
    try:
        key = verify_sealing_key(keys, given["node_id"], given["now_s"])
        found: str | None = key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    except CannotOpen:
        found = None
    assert found == result
