"""Keys for programs, as the app makes and revokes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.inference_node.running_node import ORIGIN, RunningNode, new_id

if TYPE_CHECKING:
    import httpx


async def call(node: RunningNode, method: str, path: str = "", **more: Any) -> httpx.Response:
    headers = {**node.bearer, **more.pop("headers", {})}
    return await node.http.request(method, f"{node.url}/v1/keys{path}", headers=headers, **more)


async def models(node: RunningNode, secret: str) -> int:
    response = await node.http.get(f"{node.url}/v1/models", headers={"Authorization": f"Bearer {secret}"})
    return response.status_code


async def test_a_key_is_made_named_used_and_revoked(node: RunningNode) -> None:
    made = await call(node, "POST", json={"name": "Editor"})
    assert made.status_code == 201
    secret, key = made.json()["secret"], made.json()["key"]
    assert key["name"] == "Editor"
    assert secret.startswith(key["prefix"])
    assert key["last_used_ms"] is None
    assert (await call(node, "GET")).json()["keys"] == [key]
    assert secret not in (await call(node, "GET")).text

    assert await models(node, secret) == 200
    (used,) = (await call(node, "GET")).json()["keys"]
    assert used["last_used_ms"] is not None

    renamed = await call(node, "PATCH", f"/{key['key_id']}", json={"name": "Terminal"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Terminal")
    assert await models(node, secret) == 200

    for _ in range(2):
        assert (await call(node, "DELETE", f"/{key['key_id']}")).status_code == 204
    assert await models(node, secret) == 401
    assert (await call(node, "GET")).json()["keys"] == []


async def test_an_account_sees_its_own_keys_alone(node: RunningNode) -> None:
    made = (await call(node, "POST", json={"name": "Editor"})).json()
    other = new_id()
    await node.stop()
    await node.grant(other)
    await node.restart()
    headers = {"Authorization": f"Bearer {node.authority.token(other)}"}
    path = f"/{made['key']['key_id']}"
    assert (await call(node, "GET", headers=headers)).json()["keys"] == []
    assert (await call(node, "PATCH", path, json={"name": "x"}, headers=headers)).status_code == 404
    assert (await call(node, "DELETE", path, headers=headers)).status_code == 204
    assert await models(node, made["secret"]) == 200


@pytest.mark.parametrize("name", ["", "x" * 81, None])
async def test_a_name_that_is_none_is_refused(node: RunningNode, name: str | None) -> None:
    response = await call(node, "POST", json={"name": name})
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


async def test_keys_do_not_make_keys(node: RunningNode) -> None:
    secret = (await call(node, "POST", json={"name": "Editor"})).json()["secret"]
    for headers in ({"Authorization": f"Bearer {secret}"}, {"Authorization": ""}):
        response = await call(node, "POST", json={"name": "Another"}, headers=headers)
        assert response.status_code == 401


async def test_the_app_may_rename_and_revoke_from_its_origin(node: RunningNode) -> None:
    for method in ("PATCH", "DELETE"):
        headers = {"Origin": ORIGIN, "Access-Control-Request-Method": method}
        preflight = await call(node, "OPTIONS", "/0", headers=headers)
        assert method in preflight.headers["access-control-allow-methods"]
