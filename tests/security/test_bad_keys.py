"""Keys that nobody may sign with, wherever one could be brought in: a node's enrolment, the server's key set."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.exceptions import InvalidSignature

from shared import identifiers
from shared.jws import base64url, public_key_from, raw_public_key, thumbprint
from shared.key_sets import Refused, verify_key_set
from tests.security.calling import verdict_of
from tests.security.forging import key_set_of
from tests.security.vectors import Vector, table

if TYPE_CHECKING:
    from tests.security.household import Household
    from tests.security.ledger import Ledger

# r is the neutral point and s is zero: a signature of everything, for a key of small order.
NEUTRAL_SIGNATURE = (1).to_bytes(32, "little") + bytes(32)


@pytest.mark.parametrize("vector", table("ed25519"), ids=lambda vector: vector.id)
def test_signatures_of_rfc_8032_and_what_must_not_pass_beside_them(ledger: Ledger, vector: Vector) -> None:
    key, message, signature = (bytes.fromhex(vector.input[name]) for name in ("key", "message", "signature"))
    try:
        public_key_from(key).verify(signature, message)
        verdict = "valid"
    except (ValueError, InvalidSignature):
        verdict = "invalid"
    ledger.note("signatures", wrongly_accepted=verdict == "valid" != vector.verdict)
    assert verdict == vector.verdict


@pytest.mark.parametrize("vector", table("keys"), ids=lambda vector: vector.id)
def test_a_bad_key_is_never_enrolled(household: Household, ledger: Ledger, vector: Vector) -> None:
    raw = bytes.fromhex(vector.input)
    node_id = identifiers.node_id(raw).hex()
    enrolment = {"node_id": node_id, "name": "Bad PC", "public_key": base64url(raw)}
    folder = household.server.settings.data / "enrolment"
    file = folder / f"{node_id}.json"
    file.write_text(json.dumps(enrolment))
    response = household.http.post(
        f"{household.server.url}/api/v1/auth/node", json={"assertion": assertion_of(raw, node_id)}
    )
    file.unlink()
    is_known = verdict_of(response) != "404 node_unknown"
    ledger.note("keys", wrongly_accepted=is_known and vector.verdict == "refused")
    # One that is known is asked for a signature of its own.
    assert verdict_of(response) == ("401 token_invalid" if vector.verdict == "taken" else "404 node_unknown")


def assertion_of(raw: bytes, node_id: str) -> str:
    """Return a node's login with a signature that a weak key would let pass."""
    now = int(time.time())
    header = {"typ": "node+jwt", "alg": "EdDSA", "kid": thumbprint(raw)}
    claims = {"iss": node_id, "aud": "node-login", "jti": node_id, "iat": now, "nbf": now, "exp": now + 60}
    parts = [base64url(json.dumps(part).encode()) for part in (header, claims)]
    return ".".join([*parts, base64url(NEUTRAL_SIGNATURE)])


@pytest.mark.parametrize("vector", table("key_sets"), ids=lambda vector: vector.id)
def test_K7_a_bad_key_set_is_refused(household: Household, ledger: Ledger, vector: Vector) -> None:
    root = raw_public_key(household.keys.root.public_key())
    try:
        verify_key_set(key_set_of(household.keys, vector.input), root)
        verdict = "taken"
    except Refused:
        verdict = "refused"
    ledger.note("key sets", wrongly_accepted=verdict == "taken" != vector.verdict)
    assert verdict == vector.verdict
