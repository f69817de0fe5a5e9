"""The accounts that this node serves, and its tokens for their logs."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

from inference_node import clock
from inference_node.log import replica
from shared.identifiers import from_hex
from shared.limits import ACCOUNT_ID_BYTES, DEVICE_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inference_node.log.database import Database
    from inference_node.server.identity import Identity
    from inference_node.server.keyset import KeyRing
    from inference_node.server.server_api import ServerApi
    from shared.wire import Grant

log = logging.getLogger(__name__)

# A token is renewed when less than this is left of its day, seconds.
RENEW_BEFORE_S = 3600
ASSERTION_ID_BYTES = 16


class Grants:
    """Who may ask this node. Remembered on disk, so that it serves them while the server is away.

    `on_change` is called after accounts came or went.
    """

    def __init__(
        self, database: Database, server: ServerApi, identity: Identity, keys: KeyRing, on_change: Callable[[], None]
    ) -> None:
        self._database = database
        self._server = server
        self._identity = identity
        self._keys = keys
        self._on_change = on_change
        self._grants: dict[bytes, Grant] = {}
        self._login = asyncio.Lock()
        self.accounts: frozenset[bytes] = frozenset()
        # Those of them that manage this node.
        self.managers: frozenset[bytes] = frozenset()

    async def load(self) -> None:
        """Read the accounts of the last login."""
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall("SELECT account_id, level FROM account WHERE is_granted")
        self._serve({row["account_id"]: row["level"] for row in rows})

    async def refresh(self, forked: Sequence[bytes] = ()) -> None:
        """Log in to the server: new tokens, the accounts as they are now, and a new device for each forked one.

        Raises DomovoiError, Unreachable.
        """
        async with self._login:
            session = await self._server.log_in(self.assertion(), [device.hex() for device in forked])
            await self._keys.take(session.key_set, session.revocations)
            offset_ms = session.server_ms - clock.now_ms()
            grants = {from_hex(grant.account_id, ACCOUNT_ID_BYTES): grant for grant in session.grants}
            async with self._database.transaction() as connection:
                await connection.execute("UPDATE account SET is_granted = 0")
                for account_id, grant in grants.items():
                    device_id = from_hex(grant.device_id, DEVICE_ID_BYTES)
                    await replica.serve(connection, account_id, device_id, offset_ms)
                    query = "UPDATE account SET level = ? WHERE account_id = ?"
                    await connection.execute(query, (grant.level, account_id))
            before = self.accounts
            self._serve({account_id: grant.level for account_id, grant in grants.items()})
            self._grants = grants
        if before != self.accounts:
            log.info("this node serves %d account(s)", len(grants))
        self._on_change()

    async def token(self, account_id: bytes, refused: str | None = None) -> str | None:
        """Return a sync token for the account that is not the `refused` one; None when it is not served any more.

        Raises DomovoiError, Unreachable.
        """
        grant = self._grants.get(account_id)
        is_stale = grant is None or grant.access_token == refused
        if is_stale or grant.expires_at - clock.now_s() < RENEW_BEFORE_S:  # type: ignore[union-attr]
            await self.refresh()
        grant = self._grants.get(account_id)
        return grant.access_token if grant else None

    def _serve(self, levels: Mapping[bytes, str]) -> None:
        self.accounts = frozenset(levels)
        self.managers = frozenset(account_id for account_id, level in levels.items() if level == "manage")

    def assertion(self) -> str:
        """Return a fresh login of this node (rule K6)."""
        return self._identity.assertion(clock.now_s(), secrets.token_urlsafe(ASSERTION_ID_BYTES))
