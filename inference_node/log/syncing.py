"""Keeping the node's replica and the server's log in step: all accounts, now and whenever something moved."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING

from inference_node.log.exchange import Exchange
from inference_node.runs.runs import Place
from inference_node.server.backoff import LONGEST_S, Backoff
from inference_node.server.server_api import ServerApi, Unreachable
from shared.change import EntityType
from shared.errors import DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from inference_node.log.database import Database
    from inference_node.server.grants import Grants
    from shared.change import PulledChange

log = logging.getLogger(__name__)

# A poke can be lost, so the log is looked at this often in any case; jittered, or all nodes would come at once.
POLL_S = (30.0, 60.0)
# A silent gap is looked for this often, and once after the start.
VERIFY_EVERY_S = 86_400.0


class AccountSync:
    """One account's log. `on_pulled` is called with the conversations that a pull changed."""

    def __init__(
        self,
        account_id: bytes,
        database: Database,
        server: ServerApi,
        grants: Grants,
        on_pulled: Callable[[Iterable[Place]], None],
    ) -> None:
        self._account_id = account_id
        self._on_pulled = on_pulled
        self._exchange = Exchange(account_id, database, server, grants, self._note_pulled)
        self._exchanging = asyncio.Lock()
        self._verify_at = 0.0
        self._wake = asyncio.Event()
        self._wake.set()

    def wake(self) -> None:
        """Look at the log now: it moved, or there is something to push."""
        self._wake.set()

    async def run(self) -> None:
        """Keep in step, for ever."""
        backoff = Backoff()
        while True:
            try:
                async with asyncio.timeout(random.uniform(*POLL_S)):  # noqa: S311  # jitter
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.exchange()
                backoff.reset()
            except (Unreachable, DomovoiError) as error:
                log.info("log of %s not in step: %s", self._account_id.hex(), error)
                self._wake_after(backoff.next())
            except Exception:
                # One account's fault must not end the syncing of this or any other.
                log.exception("log of %s not in step", self._account_id.hex())
                self._wake_after(LONGEST_S)

    async def exchange(self) -> None:
        """Push all, then read all; now and then compare digests. Raises DomovoiError, Unreachable."""
        async with self._exchanging:
            await self._exchange.run()
            if time.monotonic() >= self._verify_at:
                self._verify_at = time.monotonic() + VERIFY_EVERY_S
                if not await self._exchange.verify():
                    await self._exchange.run()

    def _note_pulled(self, changes: Sequence[PulledChange]) -> None:
        kinds = {EntityType.MESSAGE, EntityType.CONVERSATION}
        self._on_pulled({Place(self._account_id, change.scope) for change in changes if change.etype in kinds})

    def _wake_after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._wake.set)


class Syncing:
    """The logs of all accounts that this node serves."""

    def __init__(
        self,
        database: Database,
        server: ServerApi,
        grants: Grants,
        on_pulled: Callable[[Iterable[Place]], None],
    ) -> None:
        self._database = database
        self._server = server
        self._grants = grants
        self._on_pulled = on_pulled
        self._syncs: dict[bytes, AccountSync] = {}
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        self._grants_changed = asyncio.Event()
        self._grants_changed.set()

    def wake(self, account_id: bytes | None = None) -> None:
        """Look at this account's log now, or at all of them."""
        for known, sync in self._syncs.items():
            if account_id in {None, known}:
                sync.wake()

    async def catch_up(self, account_id: bytes) -> None:
        """Read the account's log up to now. Raises DomovoiError, Unreachable."""
        if (sync := self._syncs.get(account_id)) is not None:
            await sync.exchange()

    def grants_changed(self) -> None:
        """Begin with new accounts and leave those that are gone."""
        self._grants_changed.set()

    async def run(self) -> None:
        """Keep all logs in step, for ever."""
        try:
            while True:
                await self._grants_changed.wait()
                self._grants_changed.clear()
                self._follow_grants()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _follow_grants(self) -> None:
        for gone in self._syncs.keys() - self._grants.accounts:
            del self._syncs[gone]
            self._tasks.pop(gone).cancel()
        for new in self._grants.accounts - self._syncs.keys():
            sync = AccountSync(new, self._database, self._server, self._grants, self._on_pulled)
            self._syncs[new] = sync
            self._tasks[new] = asyncio.create_task(sync.run(), name=f"log of {new.hex()}")
