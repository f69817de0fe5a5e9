"""Our verifier beside the standards, and beside another reading of them: joserfc."""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt as reference_jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

from shared import jws, tokens
from shared.errors import DomovoiError
from shared.limits import TOKEN_LEEWAY_S, TOKEN_LIFETIME_S
from tests.effort import examples
from tests.security.forging import Forger
from tests.security.vectors import table

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_800_000_000
ISSUER, AUDIENCE = "domovoi-1", "sync"
# RFC 8037, A.1 to A.4.
SECRET = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
SIGNED = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
SIGNATURE = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

KEY = Ed25519PrivateKey.from_private_bytes(jws.from_base64url(SECRET))
KID = jws.thumbprint(jws.from_base64url(PUBLIC))
RING = {KID: jws.public_key_from(jws.from_base64url(PUBLIC))}
REFERENCE_KEY = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": PUBLIC})
REFERENCE_SIGNER = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "d": SECRET})

GOOD = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "aa",
    "did": "bb",
    "jti": "cc",
    "scope": "account",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 3600,
}
# Around now, around the leeway, and around the longest life.
SECONDS = st.one_of(
    st.integers(-TOKEN_LIFETIME_S - 200, TOKEN_LIFETIME_S + 200),
    st.integers(-TOKEN_LEEWAY_S - 2, TOKEN_LEEWAY_S + 2),
).map(lambda seconds: NOW + seconds)
NAMES = st.sampled_from(sorted(GOOD))
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.just([AUDIENCE])
)


def test_a_signature_of_rfc_8037_is_made_and_verified() -> None:
    assert jws.raw_public_key(KEY.public_key()) == jws.from_base64url(PUBLIC)
    assert jws.base64url(KEY.sign(SIGNED.encode())) == SIGNATURE
    RING[KID].verify(jws.from_base64url(SIGNATURE), SIGNED.encode())


def test_K1_the_example_of_rfc_8037_is_no_token_of_ours() -> None:
    """A right signature of the right key, and neither a type nor a key's name, nor claims."""
    assert ours(f"{SIGNED}.{SIGNATURE}") is None
    assert reference(f"{SIGNED}.{SIGNATURE}") is None


@examples(60)
@given(st.dictionaries(NAMES, st.one_of(SECONDS, ANYTHING), max_size=2), st.fixed_dictionaries({"exp": SECONDS}))
def test_K2_what_we_take_the_reference_takes_with_the_same_claims(
    changes: dict[str, Any], times: dict[str, int]
) -> None:
    token = Forger(KEY, GOOD).token({"claims": {**times, **changes}})
    taken = ours(token)
    if taken is not None:
        assert reference(token) == {name: getattr(taken, name) for name in GOOD}


@examples(60)
@given(SECONDS, SECONDS, SECONDS)
def test_K2_of_two_verifiers_of_times_ours_takes_what_both_must(issued: int, begins: int, ends: int) -> None:
    claims = {**GOOD, "iat": issued, "nbf": begins, "exp": ends}
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": KID}
    with unwarned():
        token = reference_jwt.encode(header, claims, REFERENCE_SIGNER, ["EdDSA"])
    # The last second of the leeway is over for us and not for the reference.
    is_last_second = ends + TOKEN_LEEWAY_S == NOW
    is_short = ends - issued <= TOKEN_LIFETIME_S
    assert (ours(token) is not None) == (reference(token) is not None and is_short and not is_last_second)


@examples(60)
@given(st.data())
def test_K1_an_edited_token_is_taken_by_neither(data: st.DataObject) -> None:
    good = Forger(KEY, GOOD).token({})
    place = data.draw(st.integers(0, len(good) - 1))
    text = data.draw(st.text(st.characters(codec="latin-1"), max_size=3).filter(lambda text: text != good[place]))
    edited = good[:place] + text + good[place + 1 :]
    assert ours(edited) is None
    # The reference may read other spellings of the same bytes; other bytes it does not.
    assert reference(edited) in (None, GOOD)


@pytest.mark.parametrize("vector", table("tokens"), ids=lambda vector: vector.id)
def test_what_the_reference_refuses_we_refuse(vector: Any) -> None:
    token = Forger(KEY, GOOD).token(vector.input)
    assert ours(token) is None or reference(token) is not None


def ours(token: str) -> tokens.Claims | None:
    """Return what our verifier makes of a token."""
    try:
        return tokens.verify_access(token, RING, ISSUER, AUDIENCE, NOW)
    except DomovoiError:
        return None


def reference(token: str) -> dict[str, Any] | None:
    """Return what joserfc makes of it, asked for the same."""
    registry = reference_jwt.JWTClaimsRegistry(
        lambda: NOW,
        TOKEN_LEEWAY_S,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
        nbf={"essential": True},
        iat={"essential": True},
    )
    try:
        with unwarned():
            read = reference_jwt.decode(token, REFERENCE_KEY, ["EdDSA"])
        registry.validate(read.claims)
    except (JoseError, ValueError):
        return None
    is_ours = read.header == {"typ": "at+jwt", "alg": "EdDSA", "kid": KID}
    return json.loads(json.dumps(read.claims)) if is_ours else None


@contextmanager
def unwarned() -> Iterator[None]:
    """Hear nothing of the name EdDSA, which RFC 9864 replaces and every peer still writes.

    For as short as can be: filters are the process's, and the threads of server and node set them too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield
