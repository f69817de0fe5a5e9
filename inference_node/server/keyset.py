"""The server's public keys, kept on disk, so that tokens can be verified while the server is away (rule K5)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inference_node import clock, private_files
from inference_node.server.server_api import ServerApi, Unreachable
from shared.errors import Code, DomovoiError
from shared.tokens import Claims, from_base64url, key_id, thumbprint, verify_access
from shared.wire import KeySet

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

# An unknown key makes the node ask the server, but strangers can't make it ask more often than this, seconds.
ASK_AGAIN_S = 5.0


class KeyRing:
    """Verifies access tokens with the keys of the last set that the server gave."""

    def __init__(self, path: Path, server: ServerApi, audience: str) -> None:
        self._path = path
        self._server = server
        self._audience = audience
        self._asked_s = 0.0
        self._issuer = ""
        self._keys: dict[str, Ed25519PublicKey] = {}
        try:
            self._use(msgspec.json.decode(path.read_bytes(), type=KeySet))
        except FileNotFoundError:
            pass
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            log.warning("%s can't be read (%s); asking the server again", path, error)

    async def refresh(self) -> None:
        """Ask the server for its keys. A failure keeps those that are there.

        Raises DomovoiError or Unreachable.
        """
        self._asked_s = clock.now_s()
        keys = await self._server.key_set()
        try:
            self._use(keys)
        except ValueError as error:
            raise Unreachable(f"the server's key set is not valid: {error}") from error
        private_files.replace(self._path, msgspec.json.encode(keys))

    async def verify(self, token: str) -> Claims:
        """Return the claims of a token for this node. Raises DomovoiError `token_invalid`, `token_expired`."""
        if key_id(token) not in self._keys and clock.now_s() - self._asked_s > ASK_AGAIN_S:
            try:
                await self.refresh()
            except (DomovoiError, Unreachable) as error:
                log.info("an unknown key, and the server's keys can't be fetched: %s", error)
        if not self._keys:
            raise DomovoiError(Code.TOKEN_INVALID, "The PC has not met its server yet. Start the server once.")
        return verify_access(token, self._keys, self._issuer, self._audience, clock.now_s())

    def _use(self, keys: KeySet) -> None:
        """Raises ValueError when a key is not what it says it is."""
        ring = {}
        for key in keys.keys:
            raw = from_base64url(key.x)
            if thumbprint(raw) != key.kid:
                raise ValueError(f"the key {key.kid} has another thumbprint")
            ring[key.kid] = Ed25519PublicKey.from_public_bytes(raw)
        self._issuer, self._keys = keys.issuer, ring
