"""Who may call the loopback application, and with which token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from inference_node.api_keys import ApiKeys
from tests.inference_node.running_node import ORIGIN, new_id

if TYPE_CHECKING:
    import httpx

    from tests.inference_node.conftest import Kept
    from tests.inference_node.running_node import RunningNode


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def node(kept: Kept) -> RunningNode:
    return kept.node


def port_of(node: RunningNode) -> int:
    port = node.http.base_url.port
    assert port is not None
    return port


@pytest.mark.parametrize("host", ["127.0.0.1.evil.com", "localhost.", "0.0.0.0", "evil.com", "[::]", ""])
async def test_other_host_names_are_refused(node: RunningNode, host: str) -> None:
    for name in (f"{host}:{port_of(node)}", host):
        response = await node.http.get("/healthz", headers={"host": name})
        # An empty Host never gets past the HTTP parser's own check.
        assert response.status_code in {400, 403}
        if response.status_code == 403:
            assert response.json()["code"] == "forbidden_origin"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
async def test_its_own_names_are_taken(node: RunningNode, host: str) -> None:
    await node.until_healthy()
    response = await node.http.get("/healthz", headers={"host": f"{host}:{port_of(node)}"})
    assert response.json() == {"status": "ready"}


@pytest.mark.parametrize("origin", ["null", "http://evil.com", f"{ORIGIN}.evil.com", "http://localhost", f"{ORIGIN}/"])
async def test_pages_of_other_origins_are_refused(node: RunningNode, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        response = await node.http.request(method, "/healthz", headers={"origin": origin})
        assert (response.status_code, response.json()["code"]) == (403, "forbidden_origin")
        assert "access-control-allow-origin" not in response.headers


async def test_the_apps_pages_may_call(node: RunningNode) -> None:
    asking = {"origin": ORIGIN, "access-control-request-method": "POST"}
    allowed = await node.http.options("/v1/answers", headers=asking)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert {"authorization", "content-type", "last-event-id"} <= set(
        allowed.headers["access-control-allow-headers"].split(", ")
    )
    assert "access-control-allow-credentials" not in allowed.headers
    assert "access-control-allow-private-network" not in allowed.headers
    local = await node.http.options("/v1/answers", headers=asking | {"access-control-request-private-network": "true"})
    assert local.headers["access-control-allow-private-network"] == "true"
    refused = await node.http.get("/v1/status", headers={"origin": ORIGIN})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    ("claims", "status", "code"),
    [
        ({}, 200, None),
        ({"aud": "sync"}, 401, "token_invalid"),
        ({"aud": "node:" + "00" * 16}, 401, "token_invalid"),
        ({"iss": "another"}, 401, "token_invalid"),
        ({"sub": "x"}, 401, "token_invalid"),
        ({"iat": 1, "nbf": 1, "exp": 1000}, 401, "token_expired"),
        ({"exp": int(time.time()) + 10**6}, 401, "token_invalid"),
        ({"sub": new_id().hex()}, 404, "node_unknown"),
    ],
)
async def test_K3_a_token_opens_this_node_alone(
    node: RunningNode, claims: dict[str, Any], status: int, code: str | None
) -> None:
    response = await node.http.get("/v1/status", headers=node.bearer(**claims))
    assert response.status_code == status
    assert response.json()["code"] == code


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer " + "x" * 5000])
async def test_K4_what_is_no_token_is_401(node: RunningNode, value: str) -> None:
    headers = {"authorization": value} if value else {}
    response = await node.http.get("/v1/status", headers=headers)
    assert response.status_code == 401
    assert response.json()["code"] in {"token_missing", "token_invalid"}
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_key_opens_the_status_but_no_answers(node: RunningNode) -> None:
    await node.until_healthy()
    headers = {"authorization": f"Bearer {ApiKeys(node.data).create('monitor')}"}
    status = (await node.http.get("/v1/status", headers=headers)).json()
    assert status["name"] == "Study"
    assert status["engine_state"] == "ready"
    assert (status["engine"], status["model"], status["models"]) == ("scripted", "Tiny", ["Tiny"])
    assert status["candidates"] == [f"http://localhost:{port_of(node)}"]
    assert (await node.http.get(f"/v1/answers/{'00' * 16}/events", headers=headers)).status_code == 401


async def test_health_metrics_and_description_are_open(node: RunningNode) -> None:
    await node.until_healthy()
    wanted = node.wanted()
    await node.start(wanted)
    await node.ended(wanted.answer)
    metrics = (await node.http.get("/metrics")).text
    assert "domovoi_runs_started_total 1.0" in metrics
    assert 'domovoi_runs_ended_total{state="done"} 1.0' in metrics
    assert "domovoi_engine_ready 1.0" in metrics
    document = (await node.http.get("/openapi.json")).json()
    assert set(document["paths"]) >= {"/v1/answers", "/v1/chat/completions", "/healthz"}
    assert "StartAnswer" in document["components"]["schemas"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/answers", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1//status", 404, "not_found"),
        ("GET", "/v1/%2e%2e/healthz", 404, "not_found"),
    ],
)
async def test_W2_errors_are_problems(node: RunningNode, method: str, path: str, status: int, code: str) -> None:
    response: httpx.Response = await node.http.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
