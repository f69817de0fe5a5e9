"""The OpenAPI documents of server and node name every endpoint, and what they say holds for what is made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.effort import SLOW
from tests.security.calling import NO_PROBLEM, verdict_of_parts

if TYPE_CHECKING:
    from tests.security.household import Household
    from tests.security.route_tables import Place

EXAMPLES = 200 if SLOW else 2
# The relay is the node's remote application, whose paths are the node's; the rest is no HTTP API.
NOT_DESCRIBED = {
    "/relay/{node_id}/{path:path}",
    "/tunnel",
    "/tunnel/up",
    "/tunnel/down",
    "/{path:path}",
    "/openapi.json",
}


def document_of(household: Household, place: Place) -> Any:
    return household.http.get(f"{household.url(place)}/openapi.json").json()


@pytest.mark.parametrize("place", ["server", "loopback"])
def test_the_document_names_every_endpoint(household: Household, place: Place) -> None:
    paths = document_of(household, place)["paths"]
    described = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    found = {(endpoint.method, endpoint.path) for endpoint in household.tables.endpoints() if endpoint.place == place}
    assert {key for key in described if key[1] not in NOT_DESCRIBED} == {
        key for key in found if key[1] not in NOT_DESCRIBED
    }


@pytest.mark.parametrize("place", ["server", "loopback"])
@pytest.mark.usefixtures("nothing_is_lost")
def test_what_the_document_says_holds(household: Household, place: Place) -> None:
    schema = schemathesis.openapi.from_dict(document_of(household, place))
    with requests.Session() as session:
        session.trust_env = False
        for result in schema.get_all_operations():
            assert isinstance(result, Ok), "the document is a right one"
            operation = result.ok()
            if not _is_event_stream(operation):
                _attempt(household, place, operation, session)


def _attempt(household: Household, place: Place, operation: Any, session: requests.Session) -> None:
    """Try an operation with what the document allows and with what it forbids."""
    is_for_programs = "apiKey" in str(operation.definition.raw.get("security"))
    token = household.places["api_key"] if is_for_programs else household.own_token(place)

    # A quick run tries the same each time: what is found by chance is for the thorough one.
    @settings(
        max_examples=EXAMPLES,
        derandomize=not SLOW,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(case=operation.as_strategy())
    def attempt(case: Any) -> None:
        headers = {**household.address(), "Authorization": f"Bearer {token}"}
        response = case.call(base_url=household.url(place), headers=headers, session=session)
        kind = response.headers.get("content-type", [""])[0]
        verdict = verdict_of_parts(response.status_code, kind, response.content)
        assert not verdict.startswith("500")
        assert NO_PROBLEM not in verdict
        case.validate_response(response, checks=[content_type_conformance, response_schema_conformance])

    attempt()


def _is_event_stream(operation: Any) -> bool:
    """Whether it answers with events alone, which go on for as long as somebody listens."""
    content = operation.definition.raw["responses"].get("200", {}).get("content", {})
    return list(content) == ["text/event-stream"]
