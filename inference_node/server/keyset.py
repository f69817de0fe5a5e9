"""What lets this node verify tokens by itself: the server's keys and revocations, kept on disk (rules K5, K7-K10)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from inference_node import clock
from inference_node.server.server_api import ServerApi, Unreachable
from shared import private_files
from shared.errors import Code, DomovoiError
from shared.jws import base64url, from_base64url, public_key_from
from shared.key_sets import Refused, Revocations, VerifiedKeys, check_age, verify_key_set, verify_revocations
from shared.tokens import Claims, key_id, verify_access

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

# An unknown key makes the node ask the server, but strangers can't make it ask more often than this, seconds.
ASK_AGAIN_S = 5.0


class Kept(Struct, frozen=True):
    """What lies on the disk: the pinned root in base64url, and what the server signed last."""

    root: str
    key_set: str = ""
    revocations: str = ""


class KeyRing:
    """Verifies access tokens. `on_revoked` is called after more of them were revoked."""

    def __init__(self, path: Path, server: ServerApi, audience: str, *, root: bytes | None = None) -> None:
        """Take up what is kept at `path`. `root` is what the server says of itself in a folder that both share."""
        self._path = path
        self._server = server
        self._audience = audience
        self._asked_s = 0.0
        self._kept: Kept | None = None
        self._keys: VerifiedKeys | None = None
        self._revoked: Revocations | None = None
        self.on_revoked: Callable[[], None] = lambda: None
        self._load(None if root is None else base64url(root))

    def now_s(self) -> float:
        """Return the time, in seconds since 1970: never one before the newest key set was signed (rule K10)."""
        return max(clock.now_s(), self._keys.issued_s if self._keys is not None else 0.0)

    @property
    def trouble(self) -> str | None:
        """Say, for people, why no token can be verified just now."""
        if self._keys is None:
            return "The PC has not met its server yet. Start the server once."
        try:
            check_age(self._keys, self.now_s())
        except Refused:
            return "The PC has not met its server for 30 days. Connect it once."
        return None

    async def refresh(self) -> None:
        """Ask the server for its keys, and pin its root if none is pinned. A failure keeps those that are there.

        Raises DomovoiError or Unreachable.
        """
        self._asked_s = clock.now_s()
        published = await self._server.key_set()
        if self._kept is None:
            log.info("the server's root key is pinned: %s", published.root.kid)
            self._kept = Kept(published.root.x)
        self._take_or_refuse(published.signed, "")

    async def take(self, key_set: str, revocations: str) -> None:
        """Take what came with a login. Raises DomovoiError or Unreachable."""
        if self._kept is None:
            await self.refresh()
        self._take_or_refuse(key_set, revocations)

    async def verify(self, token: str, grace_s: int = 0) -> Claims:
        """Return the claims of a token for this node that is good, or has run out at most `grace_s` ago.

        Raises DomovoiError `token_invalid`, `token_expired`, `device_revoked`.
        """
        is_unknown = self._keys is None or key_id(token) not in self._keys.keys
        if is_unknown and clock.now_s() - self._asked_s > ASK_AGAIN_S:
            try:
                await self.refresh()
            except (DomovoiError, Unreachable) as error:
                log.info("an unknown key, and the server's keys can't be fetched: %s", error)
        keys = self.check_usable()
        claims = verify_access(token, keys.keys, keys.issuer, self._audience, self.now_s(), grace_s)
        if self.is_revoked(claims):
            raise DomovoiError(Code.DEVICE_REVOKED)
        return claims

    def check_usable(self) -> VerifiedKeys:
        """Return the keys that verify tokens. Raises DomovoiError `token_invalid` when none is trusted just now."""
        trouble = self.trouble
        if self._keys is None or trouble is not None:
            raise DomovoiError(Code.TOKEN_INVALID, trouble)
        return self._keys

    def is_revoked(self, claims: Claims) -> bool:
        """Say whether a token with these claims was revoked."""
        return self._revoked is not None and self._revoked.covers(claims)

    def _load(self, shared_root: str | None) -> None:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=Kept)
            public_key_from(from_base64url(kept.root))
        except FileNotFoundError:
            kept = None
        except ValueError as error:  # msgspec's errors too
            log.warning("%s can't be read (%s); asking the server again", self._path, error)
            kept = None
        if kept is None or shared_root not in {None, kept.root}:
            self._kept = None if shared_root is None else Kept(shared_root)
            return
        self._kept = kept
        # One by one: the key that signed the list may be trusted no more, and then neither are tokens that it signed.
        for key_set, revocations in ((kept.key_set, ""), ("", kept.revocations)):
            try:
                self._take(key_set, revocations)
            except Refused as error:
                log.warning("what %s holds is not taken (%s)", self._path, error)

    def _take_or_refuse(self, key_set: str, revocations: str) -> None:
        try:
            self._take(key_set, revocations)
        except Refused as error:
            log.warning("what the server says of its keys is refused: %s", error)
            raise Unreachable(f"what the server says of its keys is refused: {error}") from error

    def _take(self, key_set: str, revocations: str) -> None:
        """Use what is newer than what is there, and keep it. Raises Refused, and then nothing has changed."""
        if self._kept is None:
            return
        keys, revoked = self._keys, self._revoked
        if key_set:
            keys = _newer(verify_key_set(key_set, from_base64url(self._kept.root)), keys)
        if revocations and keys is not None:
            listed = verify_revocations(revocations, keys)
            if revoked is None or (listed.num, listed.iat) >= (revoked.num, revoked.iat):
                revoked = listed
        more = revoked is not None and (self._revoked is None or revoked.num != self._revoked.num)
        newest = Kept(
            self._kept.root,
            key_set if keys is not self._keys else self._kept.key_set,
            revocations if revoked is not self._revoked else self._kept.revocations,
        )
        self._keys, self._revoked = keys, revoked
        if newest != self._kept or not self._path.exists():
            self._kept = newest
            private_files.replace(self._path, msgspec.json.encode(newest))
        if more:
            self.on_revoked()


def forget_times(path: Path) -> bool:
    """Forget all but the pinned root, for `domovoi node --reset-clock`, after the server's clock was ahead once.

    Return whether there was something to forget.
    """
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except (FileNotFoundError, msgspec.MsgspecError):
        return False
    private_files.replace(path, msgspec.json.encode(Kept(kept.root)))
    return True


def shared_root(data: Path) -> bytes | None:
    """Return the root key that a server left in a data folder which it shares with this node; None where it did not."""
    try:
        root = from_base64url((data / "enrolment" / "server-root").read_text("ascii").strip())
        public_key_from(root)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("the server's root key in %s can't be read: %s", data / "enrolment", error)
        return None
    return root


def _newer(offered: VerifiedKeys, kept: VerifiedKeys | None) -> VerifiedKeys:
    """Return the newer key set. Raises Refused for a smaller version: whoever offers that wants an old key back.

    Several processes of one server sign the same version at different times; that of a later time is kept.
    """
    if kept is None or kept.is_older_than(offered):
        return offered
    if offered.version < kept.version:
        raise Refused("an older key set than the one that is kept")
    return kept
