"""What every answer says to the browser that gets it, whatever was asked and whoever asked it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.bounded_http import SAFE_HEADERS
from tests.security.raw_http import sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.household import Household
    from tests.security.route_tables import Endpoint, Place

OF_THE_SERVER = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
# The relay speaks for a node under the server's own origin, so it is the server that says these.
EXPECTED: dict[Place, dict[str, str]] = {
    "server": OF_THE_SERVER,
    "loopback": SAFE_HEADERS,
    "remote": OF_THE_SERVER,
}


@pytest.mark.parametrize("place", EXPECTED)
def test_every_answer_of_every_endpoint_carries_the_security_headers(household: Household, place: Place) -> None:
    lacking = [
        (endpoint, who, name, headers.get(name))
        for endpoint in household.tables.endpoints()
        if endpoint.place == place and endpoint.method != "WEBSOCKET"
        for who, headers in _answers(household, endpoint)
        for name, value in EXPECTED[place].items()
        if headers.get(name) != value or not headers.get("content-security-policy", "").startswith("default-src 'none'")
    ]
    assert lacking == []


def _answers(household: Household, endpoint: Endpoint) -> Iterator[tuple[str, dict[str, str]]]:
    """Ask a strange question of the endpoint, by nobody, by the owner, and from a strange page."""
    # Nothing of the owner's is named, so that nothing can be lost.
    path = endpoint.path.translate({ord("{"): "0", ord("}"): "0", ord(":"): "0"})
    method = "GET" if endpoint.method == "MOUNT" else endpoint.method
    own = {"authorization": f"Bearer {household.own_token(endpoint.place)}"}
    if endpoint.place == "remote":
        own = household.owner.bearer
    strange = {"origin": "http://evil.example", "host": "evil.example"}
    for who, headers in (("nobody", {}), ("owner", own), ("a page", strange)):
        # A body that none of them takes: it changes nothing, and logs nobody out.
        content = b"{" if method in {"POST", "PUT", "PATCH"} else None
        request = household.http.build_request(
            method, household.url(endpoint.place) + path, headers=household.address() | headers, content=content
        )
        response = household.http.send(request, stream=True)
        yield who, dict(response.headers)
        response.close()


@pytest.mark.parametrize("place", ["server", "loopback"])
def test_what_is_no_http_is_told_so_with_them(household: Household, place: Place) -> None:
    port = int(household.url(place).rpartition(":")[2])
    head = sent(port, b"no http at all\r\n\r\n").partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head[0].startswith("HTTP/1.1 400")
    assert {f"{name}: {value}" for name, value in SAFE_HEADERS.items()} <= set(head[1:])
