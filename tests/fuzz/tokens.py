"""Whatever is said to be signed: tokens, a node's login, key sets, revocation lists (rules K1, K2, K7, K9).

The first byte says what of it is fuzzed: the whole text, or the header or payload of what the right key then signs.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared import jws, key_sets, tokens
from shared.errors import Code, DomovoiError
from shared.limits import TOKEN_LEEWAY_S, TOKEN_LIFETIME_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.targets import Target

NOW_S = 1_800_000_000
ISSUER, AUDIENCE = "domovoi-1", "sync"
KEY = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
RAW = jws.raw_public_key(KEY.public_key())
KID = jws.thumbprint(RAW)
RING = {KID: jws.public_key_from(RAW)}
HEADERS = [f'{{"alg":"EdDSA","typ":"{kind}","kid":"{KID}"}}'.encode() for kind in ("at+jwt", "node+jwt")]
HEADERS += [f'{{"alg":"EdDSA","typ":"{kind}","kid":"{KID}"}}'.encode() for kind in ("keyset+jwt", "revocations+jwt")]
CLAIMS = (
    f'{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"aa","did":"bb","scope":"account","jti":"cc",'
    f'"iat":{NOW_S},"nbf":{NOW_S},"exp":{NOW_S + 60}}}'
).encode()
KEYS = key_sets.VerifiedKeys(ISSUER, 1, NOW_S, NOW_S + 60, RING)


def make() -> Target:
    """Return what verifies."""
    return verify


def verify(data: bytes) -> None:
    """Have every verifier read what the bytes make. Raises AssertionError for what must not have been taken."""
    text = text_of(data)
    with _refused():
        claims = tokens.verify_access(text, RING, ISSUER, AUDIENCE, NOW_S)
        assert jws.verify(text, RING, "at+jwt", len(text))["aud"] == AUDIENCE
        assert claims.sub
        assert claims.did
        assert claims.exp - claims.iat <= TOKEN_LIFETIME_S
        assert max(claims.iat, claims.nbf) <= NOW_S + TOKEN_LEEWAY_S < claims.exp + 2 * TOKEN_LEEWAY_S
    with _refused():
        tokens.verify_node_assertion(text, RING, NOW_S)
    with _refused():
        assert tokens.key_id(text) is not None
    with suppress(key_sets.Refused):
        assert key_sets.verify_key_set(text, RAW).keys
    with suppress(key_sets.Refused):
        assert key_sets.verify_revocations(text, KEYS).iss == ISSUER


@contextmanager
def _refused() -> Iterator[None]:
    """Let pass what a bad token may be refused with."""
    try:
        yield
    except DomovoiError as error:
        if error.code not in {Code.TOKEN_INVALID, Code.TOKEN_EXPIRED}:
            raise


def text_of(data: bytes) -> str:
    """Return the text to verify."""
    how, rest = data[:1], data[1:]
    if not how or how[0] >= len(HEADERS) + 1:
        return data.decode("latin-1")
    head, body = (rest, CLAIMS) if how[0] == len(HEADERS) else (HEADERS[how[0]], rest)
    signed = f"{jws.base64url(head)}.{jws.base64url(body)}"
    return f"{signed}.{jws.base64url(KEY.sign(signed.encode()))}"
