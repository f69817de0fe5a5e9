"""Who gets in: tokens, host names and origins, on the loopback application."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from tests.inference_node.authority import Authority
from tests.inference_node.running_node import ORIGIN, RunningNode, new_id
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


# One node for the whole file: nothing here changes it.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningNode]:
    running = RunningNode(tmp_path_factory.mktemp("node"), make_engine=Script().make_engine)
    running.add_scripted_model()
    await running.grant(running.account)
    await running.start()
    yield running
    await running.stop()


async def status(node: RunningNode, headers: Any) -> httpx.Response:
    return await node.http.get(f"{node.url}/v1/status", headers=headers)


async def test_K5_a_token_opens_while_the_server_is_away(node: RunningNode) -> None:
    response = await status(node, node.bearer)
    assert response.status_code == 200
    assert response.json()["engine_state"] == "ready"
    assert response.json()["candidates"] == [
        {"scheme": "http", "host": "localhost", "port": int(node.url.rpartition(":")[2]), "kind": "loopback"}
    ]
    assert response.json()["model"] == "Test Model"


async def test_K4_no_token_is_refused(node: RunningNode) -> None:
    for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}, {"Domovoi-Node-Token": "x"}):
        response = await status(node, headers)
        assert (response.status_code, response.json()["code"]) == (401, "token_missing")


BAD_TOKENS: dict[str, Callable[[RunningNode], str]] = {
    "garbage": lambda node: "x.y.z",
    "huge": lambda node: "a" * 5000,
    "foreign key": lambda node: Authority(node.identity.node_id).token(node.account),
    "another node": lambda node: node.authority.token(node.account, aud="node:" + "0" * 32),
    "for the log": lambda node: node.authority.token(node.account, aud="sync"),
    "another issuer": lambda node: node.authority.token(node.account, iss="somebody"),
    "not yet": lambda node: node.authority.token(node.account, nbf=int(time.time()) + 600),
    "too long": lambda node: node.authority.token(node.account, exp=int(time.time()) + 100_000),
    "an account that is not served": lambda node: node.authority.token(new_id()),
    "no account": lambda node: node.authority.token(node.account, sub="me"),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_K4_a_token_for_something_else_is_refused(node: RunningNode, name: str) -> None:
    response = await status(node, {"Authorization": f"Bearer {BAD_TOKENS[name](node)}"})
    assert (response.status_code, response.json()["code"]) == (401, "token_invalid")


async def test_K4_an_old_token_has_run_out(node: RunningNode) -> None:
    now = int(time.time())
    token = node.authority.token(node.account, iat=now - 7200, nbf=now - 7200, exp=now - 3600)
    response = await status(node, {"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["code"]) == (401, "token_expired")


async def test_every_answer_needs_a_token(node: RunningNode) -> None:
    answer = await node.ask()
    for method, path in (("POST", ""), ("GET", f"/{answer.hex()}/events"), ("POST", f"/{answer.hex()}/stop")):
        response = await node.http.request(method, f"{node.url}/v1/answers{path}")
        assert (response.status_code, response.json()["code"]) == (401, "token_missing")


async def test_another_account_does_not_see_the_answer(node: RunningNode) -> None:
    answer = await node.ask()
    await node.whole(answer)
    other = new_id()
    await node.stop()
    await node.grant(other)
    await node.restart()
    headers = {"Authorization": f"Bearer {node.authority.token(other)}"}
    for method, action in (("GET", "events"), ("POST", "stop")):
        response = await node.http.request(method, f"{node.url}/v1/answers/{answer.hex()}/{action}", headers=headers)
        assert (response.status_code, response.json()["code"]) == (404, "answer_unknown")


@pytest.mark.parametrize(
    "host", ["127.0.0.1.evil.com", "localhost.", "0.0.0.0", "evil.com", "localhost", "localhost:1", "LOCALHOST:{port}"]
)
async def test_other_host_names_are_refused(node: RunningNode, host: str) -> None:
    named = host.format(port=httpx.URL(node.url).port)
    response = await status(node, {**node.bearer, "Host": named})
    assert (response.status_code, response.json()["code"]) == (403, "forbidden_origin")


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}"])
async def test_its_own_names_are_known(node: RunningNode, host: str) -> None:
    named = host.format(port=httpx.URL(node.url).port)
    assert (await status(node, {**node.bearer, "Host": named})).status_code == 200


@pytest.mark.parametrize(
    "origin", ["null", "*", "http://evil.com", f"{ORIGIN}.evil.com", "http://localhost:84600", "https://localhost:8460"]
)
async def test_pages_of_other_origins_are_refused(node: RunningNode, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        headers = {**node.bearer, "Origin": origin, "Access-Control-Request-Method": "GET"}
        response = await node.http.request(method, f"{node.url}/v1/status", headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "forbidden_origin")
        assert "access-control-allow-origin" not in response.headers


async def test_the_app_may_ask_from_its_origin(node: RunningNode) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,last-event-id",
        "Access-Control-Request-Private-Network": "true",
    }
    preflight = await node.http.options(f"{node.url}/v1/answers", headers=headers)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["access-control-allow-private-network"] == "true"
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "accept", "last-event-id"))
    refused = await node.http.get(f"{node.url}/v1/status", headers={"Origin": ORIGIN})
    # The app has to be able to read why.
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == ORIGIN


async def test_paths_and_methods_that_are_not_there(node: RunningNode) -> None:
    for method, path, code in (("GET", "/nothing", "not_found"), ("DELETE", "/v1/answers", "method_not_allowed")):
        response = await node.http.request(method, f"{node.url}{path}")
        assert response.json()["code"] == code
