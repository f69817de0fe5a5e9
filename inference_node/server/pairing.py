"""Pairing this PC with a server that knows nothing of it but a one-time code (rules P1-P6)."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, NamedTuple

from inference_node.server.backoff import Backoff
from inference_node.server.server_api import ServerApi, Unreachable
from shared.jws import from_base64url, public_key_from, raw_public_key
from shared.limits import PAIRING_NONCE_BYTES
from shared.pairing import Transcript, commitment, hashed_code
from shared.pairing_wire import PairingChallenge, PairingOffer, PairingProof, PairingState

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.server.identity import Identity

# A person waits for this at both ends, so the server is asked often, seconds.
ASK_EVERY_S = 1.0


class Paired(NamedTuple):
    """Whose node this is from now on, and the root key to pin, 32 bytes."""

    username: str
    root: bytes


class PairingRefused(Exception):
    """The owner of the account has said no."""


class PairingApi(ServerApi):
    """The server as a PC meets it that has no more than a code."""

    async def offer(self, offer: PairingOffer) -> PairingChallenge:
        """Offer the code."""
        return await self._call("POST", "/api/v1/pairing/offer", PairingChallenge, body=offer)

    async def prove(self, proof: PairingProof) -> PairingState:
        """Prove the key, or ask how things stand."""
        return await self._call("POST", "/api/v1/pairing/proof", PairingState, body=proof)


async def pair(url: str, identity: Identity, code: str, show_check: Callable[[str], None]) -> Paired:
    """Pair this node, and wait for the owner's word; `show_check` gets the six digits to compare.

    Raises PairingRefused, DomovoiError with the server's code, and Unreachable when nobody answers at the beginning.
    """
    api = PairingApi(url)
    try:
        root = _root_of((await api.key_set()).root.x)
        nonce = secrets.token_bytes(PAIRING_NONCE_BYTES)
        public_key = raw_public_key(identity.private_key.public_key())
        challenge = await api.offer(PairingOffer(code, public_key, identity.name, commitment(nonce)))
        seen = Transcript(root, hashed_code(code), public_key, None, identity.name, challenge.nonce, nonce)
        proof = PairingProof(code, nonce, seen.sign(identity.private_key))
        state = await api.prove(proof)
        show_check(seen.check())
        while state.stage == "pending":
            await asyncio.sleep(ASK_EVERY_S)
            state = await _asked_again(api, proof)
    finally:
        await api.close()
    if state.stage != "paired" or state.username is None:
        raise PairingRefused
    return Paired(state.username, root)


async def _asked_again(api: PairingApi, proof: PairingProof) -> PairingState:
    """Return how things stand, however long the server is away meanwhile. Raises DomovoiError."""
    backoff = Backoff()
    while True:
        try:
            return await api.prove(proof)
        except Unreachable:
            await asyncio.sleep(backoff.next())


def _root_of(text: str) -> bytes:
    try:
        root = from_base64url(text)
        public_key_from(root)
    except ValueError as error:
        raise Unreachable("its root key is none") from error
    return root
