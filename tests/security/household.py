"""A server and a node that have met, two people's accounts, and what each of them owns."""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from inference_node.endpoints.api_keys import ApiKeys
from shared import values
from shared.change import MessageField
from shared.errors import Code
from shared.tokens import SYNC_AUDIENCE, node_audience
from tests.inference_node.asking import token_of, until_served
from tests.sealed_http import INSIDE, SealedTransport
from tests.security.node_thread import NodeThread
from tests.security.pocket import ServerKeys, Token, bad_tokens, strange_tokens
from tests.security.route_tables import RouteTables
from tests.sync_server.device import PASSWORD
from tests.sync_server.fake_node import Identity
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sync_server.device import Device

WITHIN_S = 20.0
# What nobody but the owner may ever be shown.
SECRET = "the owner's own words"
CONTENT = b"the owner's own file"


class Household:
    """Everything is real but the engine, which is scripted. `owner` manages the node, `other` may use it.

    `of_node` are settings of the node, otherwise than usual.
    """

    def __init__(self, data: Path, **of_node: Any) -> None:
        self.tables = RouteTables()
        self.keys = ServerKeys.aged(data / "keys")
        with self.tables.watching():
            self.server = RunningServer(data)
            self.thread = NodeThread(data, self.server.url, **of_node)
        self.owner = self.server.first_account()
        self.other = self.server.new_account("Other")
        self.node_login = Identity("Laptop PC")
        self.node_login.enrol(data)
        self.http = httpx.Client(trust_env=False, timeout=WITHIN_S)
        for device in (self.owner, self.other):
            self.thread.run(until_served(self.thread.node, device))
        self._relay = f"{self.server.url}/relay/{self.thread.node_id}"
        # The relay lets the owner through; what is asked about is the node behind it.
        transport = SealedTransport(self.http, self._relay, self.thread.node_id, self.owner.bearer)
        self._sealing = httpx.Client(transport=transport, timeout=WITHIN_S)
        self._addresses = itertools.count(1)
        self._furnish()

    def close(self) -> None:
        """Stop everything."""
        self._sealing.close()
        self.http.close()
        self.thread.stop()
        self.server.stop()

    def url(self, place: str) -> str:
        """Return the base address of an application: the remote one is reached through the relay."""
        return {
            "server": self.server.url,
            "loopback": self.thread.url,
            "remote": self._relay,
            "sealed": INSIDE,
        }[place]

    def client(self, place: str) -> httpx.Client:
        """Return what calls an application: what stands inside sealed calls, it seals, for the relay to carry."""
        return self._sealing if place == "sealed" else self.http

    def address(self) -> dict[str, str]:
        """Return a header that makes a call come from an address of its own: tries are counted by address."""
        number = next(self._addresses)
        return {"x-forwarded-for": f"198.19.{number // 250}.{number % 250}"}

    def node_token(self, device: Device) -> str:
        """Return a device's token for the node."""
        return token_of(self.thread.node, device)

    def own_token(self, place: str) -> str:
        """Return the owner's token for an application."""
        return self.owner.session.access_token if place == "server" else self._node_tokens["own"]

    def pocket(self) -> list[Token]:
        """Return what callers may come with."""
        account, device = self.owner.session.account_id, self.owner.session.device_id
        node = node_audience(self.thread.node_id)
        keys = self.keys
        return [
            Token("own sync token", lambda: self.owner.session.access_token, "sync"),
            Token("own token for the node", lambda: self._node_tokens["own"], "node"),
            Token("retired key, sync", lambda: keys.token(account, device, SYNC_AUDIENCE, keys.retired), "sync"),
            Token("retired key, node", lambda: keys.token(account, device, node, keys.retired), "node"),
            Token("API key", lambda: self.places["api_key"], "key"),
            Token("login of a node", self.node_login.assertion, "login"),
            Token("another account's sync token", lambda: self.other.session.access_token, "sync", "other"),
            Token("another account's token for the node", lambda: self._node_tokens["other"], "node", "other"),
            *self._revoked,
            *bad_tokens(keys, account, device, "sync", SYNC_AUDIENCE),
            *bad_tokens(keys, account, device, "node", node),
            *strange_tokens(keys, account, device),
        ]

    def fill(self, path: str) -> str:
        """Return a path with the owner's things in place of `{names}`; a fresh one is made for it."""
        for name in re.findall(r"{(\w+)}", path):
            fresh = {"fresh_device": self._fresh_device, "fresh_key": self._fresh_key}.get(name)
            path = path.replace(f"{{{name}}}", fresh() if fresh is not None else self.places[name])
        return path

    def belongings(self) -> set[tuple[object, ...]]:
        """Return all that the owner has, as the owner sees it."""
        headers = {"authorization": f"Bearer {self._node_tokens['own']}"}
        devices = self.owner.request("GET", "/api/v1/devices").json()["devices"]
        keys = self.http.get(f"{self.thread.url}/v1/keys", headers=headers).json()["keys"]
        models = self.http.get(f"{self.thread.url}/v1/library", headers=headers).json()["models"]
        changes = self.owner.pull(limit=1000).changes
        return {
            # How far an answer is goes on changing by itself.
            *((change.eid, change.field, change.value) for change in changes if change.field != MessageField.STATE),
            *(("device", device["device_id"], device["name"]) for device in devices),
            *(("key", key["key_id"], key["name"]) for key in keys),
            *(("model", model["file"], model["size"], model["is_default"]) for model in models),
            ("file", self.owner.request("GET", f"/api/v1/blobs/{self.places['sha256']}").content),
            ("login", self.owner.http.post("/api/v1/auth/refresh").status_code),
        }

    def secrets(self) -> list[str]:
        """Return words of which each would show that something of the owner's was reached."""
        names = ("device_id", "scope", "key", "api_key")
        return [SECRET, CONTENT.decode(), self.owner.session.account_id, *(self.places[name] for name in names)]

    def _furnish(self) -> None:
        """Give the owner one of everything that has an address."""
        scope = bytes(range(16))
        first = self.owner.batch([self.owner.change(values.encode(SECRET), scope=scope)])
        assert self.owner.send(first).status_code == 200
        self.owner.note(first.changes)
        sha256 = hashlib.sha256(CONTENT).hexdigest()
        query = {"offset": 0, "size": len(CONTENT)}
        assert self.owner.request("PUT", f"/api/v1/blobs/{sha256}", params=query, content=CONTENT).status_code == 200
        self._node_tokens = {"own": self.node_token(self.owner), "other": self.node_token(self.other)}
        spare, gone = self.owner.sibling(), self.owner.sibling()
        revoked = {"sync": gone.session.access_token, "node": self.node_token(gone)}
        assert self.owner.request("DELETE", f"/api/v1/devices/{gone.session.device_id}").status_code == 204
        self._revoked = self._revoked_tokens(revoked)
        answer = self.thread.run(self._answered())
        self._api_keys = ApiKeys(self.thread.node.settings.folder / "api-keys")
        api_key = self._api_keys.create("Editor", self.owner.session.account_id)
        self.first_push = msgspec.to_builtins(first)
        pairing = self.owner.request("POST", "/api/v1/pairing", json={"password": PASSWORD}).json()["pairing_id"]
        assert self.owner.request("DELETE", f"/api/v1/pairing/{pairing}").status_code == 204
        self.places = {
            "device_id": spare.session.device_id,
            "sha256": sha256,
            "scope": scope.hex(),
            "answer": answer.hex(),
            "node_id": self.thread.node_id,
            "key": self._id_of(api_key),
            "api_key": api_key,
            "model": "Test-Model.gguf",
            "file": "Test-Model.gguf",
            "pairing_id": pairing,
        }

    def _revoked_tokens(self, tokens: dict[str, str]) -> list[Token]:
        """Return them once the node has heard that they are over."""
        headers = {"authorization": f"Bearer {tokens['node']}"}

        async def is_heard() -> bool:
            response = await self.thread.node.http.get(f"{self.thread.url}/v1/status", headers=headers)
            return bool(response.json().get("code") == Code.DEVICE_REVOKED)

        self.thread.run(self.thread.node.until(is_heard))
        return [
            Token("revoked device, sync", lambda: tokens["sync"], "sync", refusal=Code.DEVICE_REVOKED),
            Token("revoked device, node", lambda: tokens["node"], "node", refusal=Code.DEVICE_REVOKED),
        ]

    async def _answered(self) -> bytes:
        """Have the owner ask the node something, and return the answer's id when it is made."""
        node = self.thread.node
        headers = {"Authorization": f"Bearer {self._node_tokens['own']}"}
        body = node.request(SECRET)
        assert (await node.post(body, **headers)).status_code == 200
        await node.whole(body.answer, headers=headers)
        return body.answer

    def _fresh_key(self) -> str:
        return self._id_of(self._api_keys.create("Fresh", self.owner.session.account_id))

    def _id_of(self, api_key: str) -> str:
        key = self._api_keys.find(api_key)
        assert key is not None
        return key.id

    def _fresh_device(self) -> str:
        device_id = self.owner.sibling().session.device_id
        renamed = self.owner.request("PATCH", f"/api/v1/devices/{device_id}", json={"name": "Fresh"})
        assert renamed.status_code == 200
        return device_id
