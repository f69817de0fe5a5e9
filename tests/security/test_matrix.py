"""Every token at every endpoint, read from the route tables of the programs that run (rules K1-K9, H1)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from shared.errors import Code, DomovoiError
from tests.security.calling import call
from tests.security.expectations import EXPECTED, Call, Door

if TYPE_CHECKING:
    from tests.security.household import Household
    from tests.security.ledger import Ledger
    from tests.security.pocket import Token
    from tests.security.route_tables import Place

PLACES = ("server", "loopback", "remote", "sealed")


def expected(how: Call, token: Token, made: str | None) -> str:
    """Return the verdict for a token at an endpoint."""
    if how.door is Door.PUBLIC:
        return how.own
    code = _refusal_of(how.door, token, made)
    if code is not None:
        return f"{DomovoiError(code).status} {code}"
    return how.own if token.whose == "own" else how.for_other


def _refusal_of(door: Door, token: Token, made: str | None) -> Code | None:
    is_for_door = token.purpose == door.purpose
    if door is Door.LOGIN and not is_for_door:
        # Another key than a node's signed it, if it is signed at all.
        return Code.NODE_UNKNOWN if (made or "").count(".") == 2 else Code.TOKEN_INVALID
    if made is None:
        return Code.TOKEN_MISSING
    # A signed token shows its age before it shows whom it is for.
    is_old = token.refusal is Code.TOKEN_EXPIRED and door is not Door.KEY
    return token.refusal if is_for_door or is_old else Code.TOKEN_INVALID


def test_every_endpoint_is_expected(household: Household) -> None:
    """A new endpoint fails here until somebody says who may call it."""
    found = household.tables.endpoints()
    for place in PLACES:
        here = {(endpoint.method, endpoint.path) for endpoint in found if endpoint.place == place}
        assert here == set(EXPECTED[place]), place


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("nothing_is_lost")
def test_strangers_get_what_their_tokens_open_and_reach_nothing_of_the_owners(
    household: Household, ledger: Ledger, place: Place
) -> None:
    assert try_all(household, ledger, place, [token for token in household.pocket() if not token.is_owners]) == []


@pytest.mark.parametrize("place", PLACES)
def test_the_owners_tokens_open_their_own_doors_and_no_others(
    household: Household, ledger: Ledger, place: Place
) -> None:
    assert try_all(household, ledger, place, [token for token in household.pocket() if token.is_owners]) == []


def try_all(household: Household, ledger: Ledger, place: Place, tokens: list[Token]) -> list[str]:
    """Call every endpoint with every token, and return in words what came out otherwise."""
    secrets = household.secrets()
    endpoints = [endpoint for endpoint in household.tables.endpoints() if endpoint.place == place]
    wrong = []
    for token, endpoint in itertools.product(tokens, endpoints):
        how = EXPECTED[place][endpoint.method, endpoint.path]
        made = token.make()
        verdict = expected(how, token, made)
        is_owner = token.is_owners and token.purpose == how.door.purpose
        answer = call(household, endpoint, how, made, is_owner=is_owner)
        is_wrong = answer.verdict != verdict or (not is_owner and any(secret in answer.text for secret in secrets))
        ledger.note(f"tokens at endpoints, {place}", wrongly_accepted=is_wrong, unhandled=answer.is_unhandled)
        if is_wrong:
            wrong.append(f"{token.name} at {endpoint.method} {endpoint.path}: {answer.verdict}, not {verdict}")
    return wrong
