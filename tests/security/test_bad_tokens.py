"""The catalogue of bad tokens, at the doors of server and node (rules K1-K4)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from shared.tokens import SYNC_AUDIENCE, node_audience
from tests.security.calling import Answer, verdict_of
from tests.security.forging import Forger
from tests.security.vectors import Vector, table

if TYPE_CHECKING:
    from tests.security.household import Household
    from tests.security.ledger import Ledger
    from tests.security.route_tables import Place

# Where each application is asked something that only its own tokens open.
DOORS: dict[Place, str] = {"server": "/api/v1/devices", "loopback": "/v1/status", "sealed": "/v1/status"}
TOKENS = table("tokens")


def forger(household: Household, place: Place) -> Forger:
    """Return one with the server's own key."""
    now = int(time.time())
    session = household.owner.session
    audience = SYNC_AUDIENCE if place == "server" else node_audience(household.thread.node_id)
    claims = {
        "iss": household.keys.issuer,
        "aud": audience,
        "sub": session.account_id,
        "did": session.device_id,
        "scope": "account",
        "jti": "00" * 16,
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
    }
    return Forger(household.keys.current, claims)


def presented(household: Household, place: Place, token: str) -> Answer:
    """Return what comes of a token at a door."""
    headers = [(b"host", household.url(place).split("/")[2].encode())]
    headers.append((b"authorization", f"Bearer {token}".encode("latin-1")))
    response = household.client(place).get(household.url(place) + DOORS[place], headers=headers)
    return Answer(verdict_of(response), response.text)


@pytest.mark.parametrize("place", DOORS)
def test_every_token_of_the_table(household: Household, ledger: Ledger, place: Place) -> None:
    wrong = [line for vector in TOKENS if (line := _tried(household, ledger, place, vector)) is not None]
    assert wrong == []


def _tried(household: Household, ledger: Ledger, place: Place, vector: Vector) -> str | None:
    token = forger(household, place).token(vector.input)
    answer = presented(household, place, token)
    is_wrong = answer.verdict != vector.verdict if vector.verdict else answer.is_unhandled
    is_opened = answer.verdict == "200" and is_wrong
    ledger.note("tokens", wrongly_accepted=is_opened, unhandled=answer.is_unhandled)
    return f"{vector.id} ({vector.comment}): {answer.verdict}, not {vector.verdict}" if is_wrong else None
