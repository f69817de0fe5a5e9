"""What both sides of a pairing compute (rules P1-P4)."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from shared.jws import raw_public_key
from shared.pairing import Transcript, commitment, hashed_code

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRANSCRIPT = Transcript(
    root=bytes([1]) * 32,
    code_hash=hashed_code("7KQ2-M9XD-4HTB-W3Z8"),
    public_key=raw_public_key(KEY.public_key()),
    sealing_key=None,
    name="Study PC",
    server_nonce=bytes([2]) * 32,
    node_nonce=bytes([3]) * 32,
)
BYTES_32 = st.binary(min_size=32, max_size=32)
TRANSCRIPTS = st.builds(
    Transcript, BYTES_32, BYTES_32, BYTES_32, st.none() | BYTES_32, st.text(max_size=80), BYTES_32, BYTES_32
)


def test_P4_the_digits_of_a_transcript_are_these() -> None:
    assert TRANSCRIPT.check() == "299 389"


@given(TRANSCRIPTS, TRANSCRIPTS)
def test_P3_no_two_transcripts_are_spelt_alike(one: Transcript, other: Transcript) -> None:
    assert (one == other) == (one.canonical() == other.canonical())
    assert re.fullmatch(r"\d{3} \d{3}", one.check())


@pytest.mark.parametrize(
    "other",
    [
        TRANSCRIPT._replace(root=bytes(32)),
        TRANSCRIPT._replace(code_hash=bytes(32)),
        TRANSCRIPT._replace(public_key=raw_public_key(Ed25519PrivateKey.generate().public_key())),
        TRANSCRIPT._replace(sealing_key=bytes([9]) * 32),
        TRANSCRIPT._replace(name="Study  PC"),
        TRANSCRIPT._replace(server_nonce=bytes(32)),
        TRANSCRIPT._replace(node_nonce=bytes(32)),
    ],
)
def test_P3_a_proof_covers_every_member(other: Transcript) -> None:
    signature = TRANSCRIPT.sign(KEY)
    assert TRANSCRIPT.is_signed(signature)
    assert not other.is_signed(signature)
    assert other.check() != TRANSCRIPT.check()


def test_P2_a_commitment_binds_to_one_nonce() -> None:
    assert commitment(bytes(32)) != commitment(bytes([1]) * 32)
    assert commitment(bytes(32)) not in {hashed_code(""), bytes(32)}


@pytest.mark.parametrize("typed", ["7kq2m9xd4htbw3z8", " 7KQ2 M9XD 4HTB W3Z8 ", "7KQ2-M9XD--4HTB-W3Z8"])
def test_P1_a_code_has_one_hash_however_it_is_typed(typed: str) -> None:
    assert hashed_code(typed) == hashed_code("7KQ2-M9XD-4HTB-W3Z8")
    assert hashed_code("O0I1") == hashed_code("00L1")
