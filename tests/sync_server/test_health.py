from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from shared import wire
from sync_server.endpoints import ENDPOINTS
from tests.sync_server.device import Device, code_of
from tests.sync_server.event_stream import events_of

if TYPE_CHECKING:
    from tests.sync_server.running_server import RunningServer


def test_alive_and_ready(shared_server: RunningServer) -> None:
    http = shared_server.client()
    assert http.get("/healthz").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {"status": "ready"}


def test_metrics_are_for_this_machine(shared_server: RunningServer, device: Device) -> None:
    assert code_of(device.http.get("/metrics")) == (404, "not_found")
    with events_of(device) as events, httpx.Client(base_url=shared_server.url, trust_env=False) as here:
        events.next("presence")
        text = here.get("/metrics").text
    assert 'domovoi_requests_total{method="POST",status="200"}' in text
    assert "domovoi_open_streams 1.0" in text
    assert "domovoi_changes_pushed_total" in text
    assert device.session.username not in text


def test_openapi_names_every_endpoint_and_body(shared_server: RunningServer) -> None:
    document = shared_server.client().get("/openapi.json").json()
    named = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert named == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    schemas = document["components"]["schemas"]
    assert {"Push", "Pushed", "Problem", "Session", wire.KeySet.__name__} <= set(schemas)
    push = document["paths"]["/api/v1/sync/push"]["post"]
    assert push["requestBody"]["content"]["application/msgpack"]["schema"] == {"$ref": "#/components/schemas/Push"}
    assert push["summary"]


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if not e.is_public], ids=lambda e: f"{e.method} {e.path}")
def test_what_is_not_public_asks_for_a_token(shared_server: RunningServer, endpoint: object) -> None:
    ids = {
        "device_id": "0" * 16,
        "scope": "0" * 32,
        "sha256": "0" * 64,
        "node_id": "0" * 32,
        "pairing_id": "0" * 32,
        "invitation_id": "0" * 64,
        "account_id": "0" * 32,
    }
    method, path = endpoint.method, endpoint.path.format(**ids)  # type: ignore[attr-defined]
    assert code_of(shared_server.client().request(method, path, json={})) == (401, "token_missing")
