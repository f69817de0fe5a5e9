"""A node that pairs, from its side of the wire; every step can be made wrong."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from shared.jws import from_base64url
from shared.pairing import Transcript, commitment, hashed_code
from shared.pairing_wire import PairingChallenge, PairingOffer, PairingProof, PairingState
from tests.sync_server.device import MESSAGEPACK
from tests.sync_server.fake_node import Identity

if TYPE_CHECKING:
    import httpx

    from tests.sync_server.running_server import RunningServer


class PairingNode:
    """One node with one nonce, at an address of its own."""

    def __init__(self, server: RunningServer, code: str, name: str = "Desk PC") -> None:
        self.identity = Identity(name)
        self.http = server.client()
        self.code = code
        self.nonce = os.urandom(32)
        self.server_nonce = b""
        self.root = from_base64url(self.http.get("/.well-known/jwks.json").json()["root"]["x"])

    def offer(self, **changes: Any) -> httpx.Response:
        """Offer the code."""
        made = {
            "code": self.code,
            "public_key": self.identity.public,
            "name": self.identity.name,
            "commitment": commitment(self.nonce),
        }
        return self._post("offer", PairingOffer(**{**made, **changes}))

    def offered(self, **changes: Any) -> PairingNode:
        """Offer the code, which must succeed."""
        response = self.offer(**changes)
        assert response.status_code == 200, response.text
        self.server_nonce = msgspec.msgpack.decode(response.content, type=PairingChallenge).nonce
        return self

    def transcript(self, **changes: Any) -> Transcript:
        """Return what the node has seen."""
        seen = Transcript(
            self.root,
            hashed_code(self.code),
            self.identity.public,
            None,
            self.identity.name,
            self.server_nonce,
            self.nonce,
        )
        return seen._replace(**changes)

    @property
    def check(self) -> str:
        """The six digits that the node shows."""
        return self.transcript().check()

    def prove(self, signature: bytes | None = None, **changes: Any) -> httpx.Response:
        """Send the proof, or another signature."""
        made = {
            "code": self.code,
            "nonce": self.nonce,
            "signature": signature or self.transcript().sign(self.identity.key),
        }
        return self._post("proof", PairingProof(**{**made, **changes}))

    def state(self) -> PairingState:
        """Send the proof and return how things stand."""
        response = self.prove()
        assert response.status_code == 200, response.text
        return msgspec.msgpack.decode(response.content, type=PairingState)

    def _post(self, step: str, body: msgspec.Struct) -> httpx.Response:
        content = msgspec.msgpack.encode(body)
        return self.http.post(f"/api/v1/pairing/{step}", content=content, headers=MESSAGEPACK)
