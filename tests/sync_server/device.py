"""A device as tests play it: a login, and a log of changes with its chain of hashes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import msgspec

from shared import clock
from shared.canonical import FIRST_HASH, fold_hashes
from shared.change import Change
from shared.wire import Pulled, Push, Pushed, Session

Connect = Callable[[], httpx.Client]

PASSWORD = "three plain words"
MESSAGEPACK = {"content-type": "application/msgpack", "accept": "application/msgpack"}


def code_of(response: httpx.Response) -> tuple[int, str]:
    """Return status and code of a problem, which must be a proper one."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["type"] == f"urn:domovoi:problem:{problem['code']}"
    assert problem["title"]
    assert problem["detail"]
    return response.status_code, problem["code"]


class Device:
    """One logged-in device. `dseq` and `hash` are what the server has acknowledged."""

    def __init__(self, connect: Connect, http: httpx.Client, session: Session) -> None:
        self.http = http
        self._connect = connect
        self.session = session
        self.device_id = bytes.fromhex(session.device_id)
        self.account_id = bytes.fromhex(session.account_id)
        self.bearer = {"authorization": f"Bearer {session.access_token}"}
        self.dseq = 0
        self.hash = FIRST_HASH
        self.epoch = 0
        self._clock = clock.ZERO

    @classmethod
    def registered(cls, connect: Connect, username: str, **how: str) -> Device:
        """Make the account and return its first device."""
        body = {"username": username, "password": PASSWORD, "device_name": "Laptop", **how}
        return cls._from(connect, "/api/v1/auth/register", body)

    @classmethod
    def logged_in(cls, connect: Connect, username: str, password: str = PASSWORD, **more: Any) -> Device:
        """Log in and return the device."""
        body = {"username": username, "password": password, "device_name": "Phone", **more}
        return cls._from(connect, "/api/v1/auth/login", body)

    @classmethod
    def _from(cls, connect: Connect, path: str, body: dict[str, Any]) -> Device:
        http = connect()
        response = http.post(path, json=body)
        assert response.status_code == 200, response.text
        device = cls(connect, http, msgspec.json.decode(response.content, type=Session))
        device.epoch = device.pull().epoch
        return device

    def renew(self) -> bool:
        """Take another token with the login's cookie; say whether the device still is who it was."""
        response = self.http.post("/api/v1/auth/refresh")
        assert response.status_code == 200, response.text
        before, self.session = self.session, msgspec.json.decode(response.content, type=Session)
        self.bearer = {"authorization": f"Bearer {self.session.access_token}"}
        return self.session.device_id == before.device_id

    def sibling(self) -> Device:
        """Log in to the same account as another device."""
        return Device.logged_in(self._connect, self.session.username)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send an authorised request."""
        headers = {**self.bearer, **more.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **more)

    def change(self, value: bytes = b"\xa1x", **fields: Any) -> Change:
        """Return a change of a new entity, stamped by this device's clock."""
        self._clock = clock.tick(self._clock, time.time_ns() // 1_000_000, self.device_id)
        made = {
            "clk": self._clock,
            "etype": 2,
            "eid": os.urandom(16),
            "field": 1,
            "scope": bytes(16),
            "kid": 0,
            "value": value,
        }
        return Change(**{**made, **fields})

    def batch(self, changes: Sequence[Change], **fields: Any) -> Push:
        """Return the push of these changes after what is acknowledged."""
        made = {"epoch": self.epoch, "first_dseq": self.dseq + 1, "prev_hash": self.hash, "changes": list(changes)}
        return Push(**{**made, **fields})

    def send(self, batch: Push) -> httpx.Response:
        """Send a push as MessagePack."""
        content = msgspec.msgpack.encode(batch)
        return self.request("POST", "/api/v1/sync/push", content=content, headers=MESSAGEPACK)

    def push(self, *changes: Change) -> Pushed:
        """Push changes, move on by what is acknowledged, and return the answer."""
        batch = self.batch(changes)
        response = self.send(batch)
        assert response.status_code == 200, response.text
        pushed = msgspec.msgpack.decode(response.content, type=Pushed)
        self.note(batch.changes[: pushed.acked_dseq - self.dseq])
        return pushed

    def note(self, taken: Sequence[Change]) -> None:
        """Move on by changes that the server has acknowledged."""
        if taken:
            self.hash = fold_hashes(self.hash, self.dseq + 1, taken)[-1]
            self.dseq += len(taken)

    def write(self, value: bytes = b"\xa1x", **fields: Any) -> Change:
        """Push one change and return it."""
        change = self.change(value, **fields)
        assert self.push(change).rejected == []
        return change

    def pull(self, since: int = 0, **query: int) -> Pulled:
        """Pull one page, of the history that this device knows where it goes on."""
        if since:
            query = {"epoch": self.epoch, **query}
        response = self.request("GET", "/api/v1/sync/pull", params={"since": since, **query}, headers=MESSAGEPACK)
        assert response.status_code == 200, response.text
        return msgspec.msgpack.decode(response.content, type=Pulled)
