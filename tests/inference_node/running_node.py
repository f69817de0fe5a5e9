"""A whole node in the test's own event loop: real HTTP, real database, an engine of the test's choice, no server."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inference_node import replica
from inference_node.database import Database
from inference_node.identity import Identity, ensure_identity
from inference_node.main import Node, listen
from inference_node.settings import NodeSettings
from shared.identifiers import uuid7
from shared.runs import Ended, RunEvent
from shared.tokens import Claims, base64url, node_audience, raw_public_key, sign, thumbprint
from shared.values import Request, Sampling
from shared.wire import KeySet, PathMessage, PublicKey, StartAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from inference_node.engine import Engine

ISSUER = "domovoi-test"
ORIGIN = "http://localhost:8460"
WITHIN_S = 20.0
# Nobody listens there: the node must do without a server.
NO_SERVER = "http://127.0.0.1:9"


def new_id() -> bytes:
    """Return a fresh entity id."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


def add_tiny_model(data: Path, name: str = "Tiny-Q4_0.gguf") -> Path:
    """Put a file into the models folder that only the scripted engine takes for a model."""
    path = data / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF and nothing else")
    return path


@dataclass
class Event:
    """One server-sent event as a browser reads it."""

    id: str
    kind: str
    body: RunEvent


@dataclass
class RunningNode:
    """A node that runs. `account_id` is one that it serves."""

    data: Path
    identity: Identity
    signing_key: Ed25519PrivateKey
    account_id: bytes
    device_id: bytes
    node: Node
    http: httpx.AsyncClient

    @property
    def node_id(self) -> bytes:
        return bytes.fromhex(self.identity.node_id)

    def token(self, **claims: Any) -> str:
        """Return a token for this node."""
        now = int(time.time())
        made = {
            "iss": ISSUER,
            "aud": node_audience(self.identity.node_id),
            "sub": self.account_id.hex(),
            "did": "00" * 8,
            "jti": os.urandom(8).hex(),
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
        }
        return sign(Claims(**{**made, **claims}), self.signing_key)

    def bearer(self, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(**claims)}"}

    def wanted(self, text: str = "Hi", **more: Any) -> StartAnswer:
        """Return the request for an answer to one message."""
        request = Request(self.node_id, more.pop("model", None), more.pop("sampling", Sampling()))
        made = {
            "answer": new_id(),
            "conversation": new_id(),
            "request": request,
            "path": [PathMessage("user", text)],
        }
        return StartAnswer(**{**made, **more})

    async def post(self, wanted: StartAnswer, **headers: str) -> httpx.Response:
        """Send a start."""
        return await self.http.post(
            "/v1/answers",
            content=msgspec.msgpack.encode(wanted),
            headers={**self.bearer(), "content-type": "application/msgpack", **headers},
        )

    async def start(self, wanted: StartAnswer) -> str:
        """Start an answer that must be taken; return its state."""
        response = await self.post(wanted)
        assert response.status_code == 200, response.text
        return str(response.json()["state"])

    async def events(self, answer_id: bytes, after: int = 0) -> list[Event]:
        """Watch a run to its end."""
        return [event async for event in self.watch(answer_id, after)]

    async def watch(self, answer_id: bytes, after: int = 0) -> AsyncIterator[Event]:
        headers = self.bearer() | ({"last-event-id": f"{answer_id.hex()}:{after}"} if after else {})
        async with self.http.stream("GET", f"/v1/answers/{answer_id.hex()}/events", headers=headers) as response:
            assert response.status_code == 200, (await response.aread()).decode()
            fields: dict[str, str] = {}
            async for line in response.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields.get("data"):
                    body = msgspec.json.decode(fields["data"], type=RunEvent)
                    yield Event(fields["id"], fields["event"], body)
                    fields = {}

    async def ended(self, answer_id: bytes) -> Ended:
        """Wait for the end of a run."""
        last = (await self.events(answer_id))[-1].body
        assert isinstance(last, Ended)
        return last

    async def stop(self, answer_id: bytes) -> httpx.Response:
        return await self.http.post(f"/v1/answers/{answer_id.hex()}/stop", headers=self.bearer())

    async def until_healthy(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not (await self.http.get("/healthz")).is_success:  # noqa: ASYNC110  # what others see is tested
                await asyncio.sleep(0.01)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110  # conditions of every kind
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running_node(data: Path, engine: Engine, server_url: str = NO_SERVER) -> AsyncIterator[RunningNode]:
    """Run a node that has met a server before, until the block ends; then stop it in good order."""
    settings = NodeSettings(data, port=0, server_url=server_url, allowed_origins=(ORIGIN,), name="Study")
    identity = ensure_identity(data, settings.name)
    signing_key, account_id, device_id = await _met_server(data)
    with listen(settings) as listener:
        node = Node(settings, identity, listener.getsockname()[1], engine)
        await node.open()
        serving = asyncio.create_task(node.serve(listener))
        async with httpx.AsyncClient(base_url=node.address, trust_env=False, timeout=WITHIN_S) as http:
            try:
                yield RunningNode(data, identity, signing_key, account_id, device_id, node, http)
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)


async def _met_server(data: Path) -> tuple[Ed25519PrivateKey, bytes, bytes]:
    """Put into the data folder what a node keeps of its server; the same again for the same folder."""
    seed = data / "test-key"
    if not seed.exists():
        seed.write_bytes(os.urandom(32 + 16 + 8))
    material = seed.read_bytes()
    key = Ed25519PrivateKey.from_private_bytes(material[:32])
    raw = raw_public_key(key.public_key())
    key_set = KeySet(ISSUER, [PublicKey(base64url(raw), thumbprint(raw))])
    (data / "node" / "keyset.json").write_bytes(msgspec.json.encode(key_set))
    account_id, device_id = material[32:48], material[48:]
    database = Database(data / "node" / "node.db")
    await database.open()
    await database.transact(lambda c: replica.grant(c, {account_id: device_id}, 0))
    await database.close()
    return key, account_id, device_id
