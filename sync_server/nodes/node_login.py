"""A node proves who it is with a JWT that it signs itself (rule K6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.errors import Code, DomovoiError
from shared.limits import NODE_ASSERTION_LIFETIME_S, TOKEN_LEEWAY_S
from shared.tokens import NodeClaims, key_id, verify_node_assertion
from shared.wire import Grant, NodeSession
from sync_server import clock
from sync_server.accounts.revocations import revocations
from sync_server.nodes.enrolment import enrol_from
from sync_server.nodes.nodes import find_by_key, grants_of, replace_device

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sync_server.accounts.signing_keys import SigningKeys
    from sync_server.store.database import Database, Row

# An assertion older than this is refused for its age, so its id need not be remembered.
REMEMBERED_MS = (NODE_ASSERTION_LIFETIME_S + 2 * TOKEN_LEEWAY_S) * 1000


class NodeLogins:
    """Verifies assertions, each once, and gives out the tokens of the accounts that a node serves."""

    def __init__(self, database: Database, keys: SigningKeys, enrolment_folder: Path) -> None:
        self._database = database
        self._keys = keys
        self._folder = enrolment_folder
        self._used: dict[tuple[bytes, str], int] = {}

    async def verify(self, assertion: str) -> bytes:
        """Return the node's id. Raises DomovoiError node_unknown, token_invalid, token_expired."""
        row = await self._find(key_id(assertion))
        key = Ed25519PublicKey.from_public_bytes(row["public_key"])
        claims = verify_node_assertion(assertion, {row["key_id"]: key}, clock.now_ms() / 1000)
        if claims.iss != row["node_id"].hex():
            raise DomovoiError(Code.TOKEN_INVALID)
        self._use_once(row["node_id"], claims)
        node_id: bytes = row["node_id"]
        return node_id

    async def session(self, node_id: bytes, forked: Sequence[str] = ()) -> NodeSession:
        """Return a sync token for each account that the node serves, as a new device where the old one is forked.

        With it comes what the node needs to verify tokens by itself (rules K7-K9).
        """
        for device_id in forked:
            await replace_device(self._database, node_id, bytes.fromhex(device_id))
        grants = []
        for grant in await grants_of(self._database, node_id):
            token = self._keys.issue(grant.account_id, grant.device_id, "sync")
            ids = (grant.account_id.hex(), grant.device_id.hex())
            grants.append(Grant(*ids, grant.level, token.access_token, token.expires_at))
        revoked = self._keys.sign(await revocations(self._database, self._keys.issuer))
        return NodeSession(grants, clock.now_ms(), self._keys.key_set().signed, revoked)

    async def _find(self, kid: str) -> Row:
        row = await find_by_key(self._database, kid)
        if row is None:
            await enrol_from(self._folder, self._database)
            row = await find_by_key(self._database, kid)
        if row is None:
            raise DomovoiError(Code.NODE_UNKNOWN, "This server knows no such PC. Pair it: domovoi node pair.")
        return row

    def _use_once(self, node_id: bytes, claims: NodeClaims) -> None:
        now_ms = clock.now_ms()
        self._used = {key: until for key, until in self._used.items() if until > now_ms}
        if (node_id, claims.jti) in self._used:
            raise DomovoiError(Code.TOKEN_INVALID, "This assertion was used before. Sign a new one.")
        self._used[node_id, claims.jti] = now_ms + REMEMBERED_MS
