"""The accounts that this node serves: logging in for them, and one `AccountSync` each."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from inference_node import replica
from inference_node.account_sync import POLL_S, AccountSync
from inference_node.backoff import Backoff
from inference_node.server import ServerUnreachable
from shared.errors import DomovoiError
from shared.identifiers import from_hex
from shared.limits import DEVICE_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.clock import Clock
    from inference_node.database import Database
    from inference_node.identity import Identity
    from inference_node.key_set import KeySetCache
    from inference_node.server import Server
    from shared.wire import Grant

log = logging.getLogger(__name__)

# Tokens are renewed this long before they run out.
RENEW_BEFORE_S = 3600


class Accounts:
    """`make_sync` makes the `AccountSync` of an account id."""

    def __init__(
        self,
        identity: Identity,
        database: Database,
        server: Server,
        key_set: KeySetCache,
        clock: Clock,
        make_sync: Callable[[bytes, Callable[[], None]], AccountSync],
    ) -> None:
        self._identity = identity
        self._database = database
        self._server = server
        self._key_set = key_set
        self._clock = clock
        self._make_sync = make_sync
        self._syncs: dict[bytes, AccountSync] = {}
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        self._log_in_wanted = asyncio.Event()
        self._refusal = ""

    def serves(self, account_id: bytes) -> bool:
        """Say whether this node serves the account."""
        return account_id in self._syncs

    def wake(self, account_id: bytes | None = None) -> None:
        """Have an account's log, or every one, looked at."""
        for identifier, sync in self._syncs.items():
            if account_id in {None, identifier}:
                sync.wake()

    def log_in_soon(self) -> None:
        """Log in again: grants changed, a token was refused, or the server is back."""
        self._log_in_wanted.set()

    async def open(self) -> None:
        """Serve the accounts known from before: no server is needed for that."""
        for account in await self._database.transact(replica.accounts):
            self._serve(account.account_id)

    async def run(self) -> None:
        """Log in, and keep logged in, until cancelled."""
        backoff = Backoff()
        try:
            while True:
                self._log_in_wanted.clear()
                try:
                    pause = await self._log_in()
                    backoff.reset()
                except (ServerUnreachable, DomovoiError, ValueError) as error:
                    self._note(error)
                    pause = backoff.next_s()
                try:
                    async with asyncio.timeout(pause):
                        await self._log_in_wanted.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _log_in(self) -> float:
        """Take the grants that the server gives; return after how many seconds to do it again."""
        session = await self._server.log_in(self._identity.assertion(self._clock.now_s()))
        self._clock.learn(session.server_ms)
        await self._key_set.refresh()
        await self._take(session.grants)
        self._refusal = ""
        if not session.grants:
            # A poke comes with the first account; this is for the one that gets lost.
            return random.uniform(*POLL_S)  # noqa: S311
        renewal = min(grant.expires_at for grant in session.grants) - self._clock.now_s() - RENEW_BEFORE_S
        return max(renewal, POLL_S[0])

    async def _take(self, grants: list[Grant]) -> None:
        devices = {from_hex(grant.account_id): from_hex(grant.device_id, DEVICE_ID_BYTES) for grant in grants}
        now_ms = self._clock.now_ms()
        await self._database.transact(lambda c: replica.grant(c, devices, now_ms))
        for account_id in [known for known in self._syncs if known not in devices]:
            del self._syncs[account_id]
            self._tasks.pop(account_id).cancel()
        for grant in grants:
            account_id = from_hex(grant.account_id)
            sync = self._serve(account_id)
            sync.token = grant.access_token
            sync.wake()

    def _serve(self, account_id: bytes) -> AccountSync:
        if account_id not in self._syncs:
            sync = self._make_sync(account_id, self.log_in_soon)
            self._syncs[account_id] = sync
            self._tasks[account_id] = asyncio.create_task(sync.run())
        return self._syncs[account_id]

    def _note(self, error: Exception) -> None:
        # Once for each reason: a server that is away for days must not fill the log.
        if (reason := str(error)) != self._refusal:
            log.warning("not logged in to the server: %s", reason)
            self._refusal = reason
