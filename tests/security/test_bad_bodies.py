"""Bad values in every place of every body, in JSON and in MessagePack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.effort import SLOW
from tests.security.bodies import full_bodies, places_of, with_value
from tests.security.calling import NO_PROBLEM, verdict_of
from tests.security.expectations import EXPECTED, Door
from tests.security.vectors import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.security.household import Household
    from tests.security.ledger import Ledger
    from tests.security.route_tables import Place

VALUES = table("values")
# In a quick run each place gets one in four of them, its neighbours the others.
SAMPLE = 4


@pytest.mark.parametrize("place", ["server", "loopback"])
def test_every_body_that_an_endpoint_takes_is_here(household: Household, place: Place) -> None:
    """Read from the OpenAPI document, so that a new endpoint fails here until it has a full body."""
    document = household.http.get(f"{household.url(place)}/openapi.json").json()
    taken = {
        (place, method.upper(), path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert taken == {key for key in full_bodies(household) if key[0] == place}


@pytest.mark.parametrize("place", ["server", "loopback"])
@pytest.mark.usefixtures("nothing_is_lost")
def test_bad_values_everywhere(household: Household, ledger: Ledger, place: Place) -> None:
    wrong = []
    for key, body in full_bodies(household).items():
        if key[0] != place:
            continue
        for name, response, verdict in _answers(household, key, body):
            got = verdict_of(response)
            is_unhandled = got.startswith("500") or NO_PROBLEM in got
            is_accepted = bool(verdict) and response.is_success
            ledger.note("values in bodies", wrongly_accepted=is_accepted, unhandled=is_unhandled)
            if is_unhandled or is_accepted:
                wrong.append(f"{key[1]} {key[2]}{name}: {got}")
    assert wrong == []


def _answers(household: Household, key: tuple[Place, str, str], body: Any) -> Iterator[tuple[str, httpx.Response, str]]:
    """Yield what comes of every value in every place: its name, the response, and the verdict that must be."""
    place, method, path = key
    how = EXPECTED[place][method, path]
    url = household.url(place) + household.fill(how.own_path or path)
    token = household.places["api_key"] if how.door is Door.KEY else household.own_token(place)
    for number, (where, marked) in enumerate(places_of(body)):
        for vector in VALUES if SLOW else VALUES[number % SAMPLE :: SAMPLE]:
            kind, content = with_value(marked, vector.input)
            headers = {**household.address(), "authorization": f"Bearer {token}", "content-type": kind}
            response = household.http.request(method, url, content=content, headers=headers)
            yield f" {where} {vector.id}", response, vector.verdict
