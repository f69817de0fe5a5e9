"""A node is not trusted by the server: what it answers through its tunnel may harm neither server nor caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from shared.tunnel.frames import FrameType
from tests.security.calling import NO_PROBLEM, verdict_of
from tests.security.vectors import Vector, table
from tests.sync_server.fake_node import NodeCall, connected

if TYPE_CHECKING:
    from tests.security.household import Household
    from tests.security.ledger import Ledger

BODY = b"{}"
# What a node says of these is its own affair, and not the server's origin's.
NEVER_RETURNED = {"set-cookie", "location", "refresh", "access-control-allow-origin"}


@pytest.mark.parametrize("vector", table("tunnel"), ids=lambda vector: vector.id)
async def test_every_answer_of_the_table(household: Household, ledger: Ledger, vector: Vector) -> None:
    verdict, headers = await answered(household, vector)
    ledger.note(
        "answers of nodes",
        wrongly_accepted=verdict == "200" and vector.verdict not in {"", "200"},
        unhandled=verdict.startswith("500") or NO_PROBLEM in verdict,
    )
    assert not verdict.startswith("500")
    assert vector.verdict in {"", verdict}
    assert NEVER_RETURNED & set(headers) == set()
    assert "default-src 'none'" in headers.get("content-security-policy", "default-src 'none'")
    assert household.owner.request("GET", "/api/v1/nodes").status_code == 200


async def answered(household: Household, vector: Vector) -> tuple[str, httpx.Headers]:
    """Have a node answer a call as a vector says, and return what the caller gets; "cut" where that has no end."""
    given = vector.input

    async def answer(call: NodeCall) -> None:
        head = bytes.fromhex(given["raw"]) if "raw" in given else msgspec.msgpack.encode(given)
        await node.send(FrameType.OPEN, call.number, head)
        await call.write(BODY)
        await call.end()

    identity = household.node_login
    url = f"{household.server.url}/relay/{identity.node_id}/v1/keys"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20) as http,
        connected(household.server.websocket_url, identity, answer) as node,
    ):
        try:
            response = await http.get(url, headers=household.owner.bearer)
        except httpx.RemoteProtocolError:
            return "cut", httpx.Headers()
        return verdict_of(response), response.headers
