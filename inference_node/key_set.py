"""The server's signing keys as this node has last seen them; verifies tokens without asking anybody (rule K5)."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inference_node.private_files import replace
from shared.errors import Code, DomovoiError
from shared.tokens import Claims, from_base64url, key_id, node_audience, thumbprint, verify_access
from shared.wire import KeySet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from inference_node.clock import Clock

log = logging.getLogger(__name__)

# Strangers can make up key ids, so an unknown one is no reason to ask the server more often than this.
ASK_AGAIN_S = 5.0


class KeySetCache:
    """Keeps the key set in a file. `fetch` asks the server; a failed fetch changes nothing."""

    def __init__(self, path: Path, node_id: str, clock: Clock, fetch: Callable[[], Awaitable[KeySet]]) -> None:
        self._path = path
        self._audience = node_audience(node_id)
        self._clock = clock
        self._fetch = fetch
        self._issuer = ""
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._asked_at = -ASK_AGAIN_S

    def load(self) -> None:
        """Read the file, if there is a good one."""
        try:
            self._take(msgspec.json.decode(self._path.read_bytes(), type=KeySet))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("%s can't be read (%s); the keys are fetched again", self._path.name, error)

    async def refresh(self) -> None:
        """Fetch the key set and keep it. Raises what `fetch` raises, and ValueError for a set that is not one."""
        self._asked_at = time.monotonic()
        key_set = await self._fetch()
        self._take(key_set)
        replace(self._path, msgspec.json.encode(key_set))

    async def verify(self, token: str) -> Claims:
        """Return the claims of a token for this node.

        Raises DomovoiError token_invalid, token_expired.
        """
        if key_id(token) not in self._keys and time.monotonic() - self._asked_at >= ASK_AGAIN_S:
            try:
                await self.refresh()
            except (DomovoiError, OSError, ValueError) as error:
                log.info("the server's keys could not be fetched: %s", error)
        if not self._keys:
            raise DomovoiError(Code.TOKEN_INVALID, "This node has not met its server yet. Start the server once.")
        return verify_access(token, self._keys, self._issuer, self._audience, self._clock.now_s())

    def _take(self, key_set: KeySet) -> None:
        keys = {}
        for key in key_set.keys:
            raw = from_base64url(key.x)
            if (key.kty, key.crv) != ("OKP", "Ed25519") or thumbprint(raw) != key.kid:
                raise ValueError("a key is not what its id says")
            keys[key.kid] = Ed25519PublicKey.from_public_bytes(raw)
        if not keys:
            raise ValueError("the key set is empty")
        self._issuer, self._keys = key_set.issuer, keys
