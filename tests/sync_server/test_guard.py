from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sync_server.guard import Addresses
from tests.sync_server.device import Device, code_of

if TYPE_CHECKING:
    from tests.sync_server.running_server import RunningServer

HOSTILE = [
    "127.0.0.1.evil.com:{port}",
    "localhost.:{port}",
    "0.0.0.0:{port}",
    "localhost",
    "localhost:1",
    "evil.example",
    "localhost:{port}@evil.example",
    "",
]


@pytest.mark.parametrize("host", HOSTILE)
def test_only_our_own_host_names(shared_server: RunningServer, host: str) -> None:
    headers = {"host": host.format(port=shared_server.port)}
    assert code_of(shared_server.client().get("/healthz", headers=headers)) == (403, "forbidden_origin")


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST:{port}"])
def test_our_host_names(shared_server: RunningServer, host: str) -> None:
    headers = {"host": host.format(port=shared_server.port)}
    assert shared_server.client().get("/healthz", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://localhost:1",
        "https://localhost:{port}",
        "http://localhost:{port}.evil.com",
        "http://evil.example",
    ],
)
def test_other_origins_change_nothing(shared_server: RunningServer, device: Device, origin: str) -> None:
    headers = {"origin": origin.format(port=shared_server.port)}
    refused = device.request("POST", "/api/v1/auth/logout", headers=headers)
    assert code_of(refused) == (403, "forbidden_origin")
    assert device.http.post("/api/v1/auth/refresh").status_code == 200, "the login still stands"


def test_our_own_origin_may_change_things(shared_server: RunningServer, device: Device) -> None:
    headers = {"origin": f"http://localhost:{shared_server.port}"}
    assert device.request("POST", "/api/v1/auth/refresh", headers=headers).status_code == 200


def test_the_public_address_is_one_of_ours() -> None:
    addresses = Addresses(8460, "https://home.example")
    assert {"localhost:8460", "127.0.0.1:8460", "[::1]:8460", "home.example", "home.example:443"} == addresses.hosts
    assert "https://home.example" in addresses.origins
    assert "http://home.example" not in addresses.origins
    other_port = Addresses(8460, "https://home.example:8443")
    assert "home.example:8443" in other_port.hosts
    assert "home.example" not in other_port.hosts


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/api/v1/devices", "/api/nowhere"])
def test_every_answer_carries_the_security_headers(shared_server: RunningServer, path: str) -> None:
    headers = shared_server.client().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self' http://localhost:8461 http://*:8461 https://*:8443" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_unknown_addresses_and_methods_are_problems(shared_server: RunningServer) -> None:
    http = shared_server.client()
    assert code_of(http.get("/api/v1/nowhere")) == (404, "not_found")
    assert code_of(http.put("/api/v1/sync/push")) == (405, "method_not_allowed")
    assert code_of(http.get("/")) == (404, "not_found")
    assert "make up" in http.get("/").json()["detail"]
