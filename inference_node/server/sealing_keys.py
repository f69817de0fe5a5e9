"""The node's keys for sealed calls: a new one each day, in memory alone, so that an old one is gone when it is dropped.

What was sealed to a key that is gone opens for nobody any more: that is the forward secrecy which is claimed (rule H3).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.limits import SEALING_KEY_FRESH_S, SEALING_KEY_KEPT_S
from shared.sealing import sign_sealing_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.server.identity import Identity
    from shared.sealed_wire import SealingKeys

LOOK_EVERY_S = 60.0


class _Key(NamedTuple):
    private: X25519PrivateKey
    made_s: float


class SealingKeyRing:
    """`now_s` tells the time in seconds since 1970."""

    def __init__(self, identity: Identity, now_s: Callable[[], float]) -> None:
        self._identity = identity
        self._now_s = now_s
        self._keys: list[_Key] = []

    async def run(self) -> None:
        """Drop old keys in time, whether anybody calls or not."""
        while True:
            self._rotate()
            await asyncio.sleep(LOOK_EVERY_S)

    def private_keys(self) -> list[X25519PrivateKey]:
        """Return the keys that calls may be sealed to, the newest first."""
        self._rotate()
        return [key.private for key in self._keys]

    def published(self, epoch: int) -> SealingKeys:
        """Return what anybody may know: the newest key, signed."""
        self._rotate()
        newest = self._keys[0]
        return sign_sealing_key(newest.private.public_key(), self._identity.private_key, int(newest.made_s), epoch)

    def _rotate(self) -> None:
        """A clock that was set back makes a new key too: nobody knows how old the others are then."""
        now_s = self._now_s()
        self._keys = [key for key in self._keys if now_s < key.made_s + SEALING_KEY_KEPT_S]
        if not self._keys or not 0 <= now_s - self._keys[0].made_s < SEALING_KEY_FRESH_S:
            self._keys = [_Key(X25519PrivateKey.generate(), now_s), *(key for key in self._keys if key.made_s <= now_s)]
