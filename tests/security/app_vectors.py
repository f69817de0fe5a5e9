"""What the app's verifier is held to: the catalogue signed, at a time that stands still.

    python -m tests.security.app_vectors

writes `shared/vectors/from_security/`, which Python and the app both run; a test keeps it current.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared import key_sets, tokens
from shared.errors import DomovoiError
from shared.jws import base64url, public_key_from, raw_public_key, thumbprint
from shared.limits import MAX_KEY_SET_BYTES, MAX_TOKEN_BYTES, TOKEN_LEEWAY_S, TOKEN_LIFETIME_S
from tests.security.forging import Forger, key_set_of
from tests.security.vectors import table
from tests.structure.tracked import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ROOT / "shared" / "vectors" / "from_security"
SEED = 8460
NOW_S = 1_800_000_000
AUDIENCE = tokens.node_audience("07" * 16)
EDITS = 40
TIMES = 40
CHARACTERS = "ABCxyz019-_=.+/ \né"


class Keys(NamedTuple):
    """A server's keys, the same each time."""

    issuer: str
    current: Ed25519PrivateKey
    root: Ed25519PrivateKey


KEYS = Keys(
    "domovoi-1",
    Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32),
    Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32),
)
GOOD = {
    "iss": KEYS.issuer,
    "aud": AUDIENCE,
    "sub": "ac" * 16,
    "did": "de" * 8,
    "scope": "account",
    "jti": "00" * 16,
    "iat": NOW_S,
    "nbf": NOW_S,
    "exp": NOW_S + 3600,
}


def files() -> dict[str, str]:
    """Return name → text of each file."""
    documents = {
        "tokens": ("K1-K3: claims of an access token, or why it is refused", _token_vectors()),
        "key_sets": ("K7: what the root has signed; null where refused", _key_set_vectors()),
        "keys": ("K7: whether a public key in hex may be trusted at all", _key_vectors()),
    }
    return {f"{name}.json": _text(comment, vectors) for name, (comment, vectors) in documents.items()}


def _text(comment: str, vectors: Iterator[dict[str, Any]]) -> str:
    lines = ",\n".join(json.dumps(vector) for vector in vectors)
    return f'{{"comment": {json.dumps(comment)}, "vectors": [\n{lines}\n]}}\n'


def _token_vectors() -> Iterator[dict[str, Any]]:
    forger = Forger(KEYS.current, GOOD, NOW_S)
    for vector in table("tokens"):
        if not vector.verdict:
            continue
        token = forger.token(vector.input)
        # What is longer is refused for that, and would only fill the file.
        yield _token_vector(vector.id, vector.comment, token[: MAX_TOKEN_BYTES + 1])
    rng = random.Random(SEED)
    bounds = (0, TOKEN_LEEWAY_S, -TOKEN_LEEWAY_S, TOKEN_LIFETIME_S, -TOKEN_LIFETIME_S)
    for number in range(TIMES):
        times = {name: NOW_S + rng.choice(bounds) + rng.randint(-2, 2) for name in ("iat", "nbf", "exp")}
        yield _token_vector(f"times-{number}", "around the bounds", forger.token({"claims": times}))
    good = forger.token({})
    for number in range(EDITS):
        place = rng.randrange(len(good))
        edited = good[:place] + rng.choice(CHARACTERS) + good[place + rng.randrange(2) :]
        yield _token_vector(f"edited-{number}", "a good token with another character in it", edited)


def _token_vector(identifier: str, comment: str, token: str) -> dict[str, Any]:
    public = raw_public_key(KEYS.current.public_key())
    result: Any
    try:
        claims = tokens.verify_access(
            token, {thumbprint(public): public_key_from(public)}, KEYS.issuer, AUDIENCE, NOW_S
        )
        result = {name: getattr(claims, name) for name in ("iss", "aud", "sub", "did", "iat", "exp")}
    except DomovoiError as error:
        result = error.code.value
    given = {"token": token, "key": base64url(public), "issuer": KEYS.issuer, "audience": AUDIENCE, "now_s": NOW_S}
    return {"id": identifier, "comment": comment, "input": given, "result": result}


def _key_set_vectors() -> Iterator[dict[str, Any]]:
    root = raw_public_key(KEYS.root.public_key())
    for vector in table("key_sets"):
        text = key_set_of(KEYS, vector.input, NOW_S)[: MAX_KEY_SET_BYTES + 1]
        try:
            keys = key_sets.verify_key_set(text, root)
            result = {"issuer": keys.issuer, "version": keys.version, "issuedS": keys.issued_s}
            result |= {"expiresS": keys.expires_s, "keys": list(keys.keys)}
        except key_sets.Refused:
            result = None
        given = {"key_set": text, "root": base64url(root)}
        yield {"id": vector.id, "comment": vector.comment, "input": given, "result": result}


def _key_vectors() -> Iterator[dict[str, Any]]:
    for vector in table("keys"):
        is_taken = vector.verdict == "taken"
        yield {"id": vector.id, "comment": vector.comment, "input": vector.input, "result": is_taken}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, "utf-8", newline="\n")
