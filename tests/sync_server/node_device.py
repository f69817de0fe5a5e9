"""A node as a device of an account, for what only nodes may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import msgspec

from shared.wire import Grant, IfLease, Lease, LeaseRequest, NodeSession, Session
from tests.sync_server.device import MESSAGEPACK, Device

if TYPE_CHECKING:
    from tests.sync_server.fake_node import Identity
    from tests.sync_server.running_server import RunningServer


def grant_of(server: RunningServer, identity: Identity, account_id: bytes) -> Grant:
    """Log the node in and return its place in the account."""
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        response = http.post("/api/v1/auth/node", json={"assertion": identity.assertion()})
    session = msgspec.json.decode(response.content, type=NodeSession)
    return next(grant for grant in session.grants if grant.account_id == account_id.hex())


class NodeDevice(Device):
    """A device that may hold leases."""

    def __init__(self, server: RunningServer, identity: Identity, account: Device) -> None:
        grant = grant_of(server, identity, account.account_id)
        session = Session(grant.access_token, grant.device_id, grant.account_id, "node", grant.expires_at, 0)
        super().__init__(server.client, account.http, session)
        self.epoch = account.epoch

    def lease(self, action: str, answer: bytes, token: bytes | None = None) -> httpx.Response:
        """Ask for a lease."""
        body = msgspec.msgpack.encode(LeaseRequest(answer, action, token))  # type: ignore[arg-type]
        return self.request("POST", "/api/v1/leases", content=body, headers=MESSAGEPACK)

    def claim(self, answer: bytes) -> Lease:
        """Claim the answer, which must succeed."""
        response = self.lease("claim", answer)
        assert response.status_code == 200, response.text
        return msgspec.msgpack.decode(response.content, type=Lease)

    def seal(self, answer: bytes, token: bytes, value: bytes = b"\xa1s") -> httpx.Response:
        """Push the answer's state under the lease; move on if it was taken."""
        change = self.change(value, etype=3, eid=answer, field=4)
        response = self.send(self.batch([change], if_lease=IfLease(answer, token)))
        if response.status_code == 200:
            self.note([change])
        return response
