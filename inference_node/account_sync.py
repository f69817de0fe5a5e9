"""Keeps one account's replica in step with the server, and has what is found there done (rules L8-L15, C4-C6)."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from functools import partial
from typing import TYPE_CHECKING

from inference_node import replica
from inference_node.backoff import Backoff
from inference_node.server import ServerUnreachable
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.claims import Claims
    from inference_node.clock import Clock
    from inference_node.database import Database
    from inference_node.replica import Account
    from inference_node.server import Server

log = logging.getLogger(__name__)

# Pokes may be lost; this often the log is looked at without one.
POLL_S = (30.0, 60.0)
_TOKEN_CODES = {Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.TOKEN_EXPIRED, Code.DEVICE_REVOKED}
_NEW_HISTORY = {Code.EPOCH_CHANGED, Code.HISTORY_TRIMMED}


class AccountSync:
    """One account. `token` is set by whoever logs in; `log_in_again` is called when it is refused."""

    def __init__(
        self,
        account_id: bytes,
        node_id: bytes,
        database: Database,
        server: Server,
        clock: Clock,
        claims: Claims,
        log_in_again: Callable[[], None],
    ) -> None:
        self.token: str | None = None
        self._account_id = account_id
        self._node_id = node_id
        self._database = database
        self._server = server
        self._clock = clock
        self._claims = claims
        self._log_in_again = log_in_again
        self._wake = asyncio.Event()
        self._refused: Code | None = None

    def wake(self) -> None:
        """Look at the log soon: it moved, or this node has written into it."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        backoff = Backoff()
        while True:
            self._wake.clear()
            try:
                # What is known already does not wait for the server.
                await self._claims.look(self._account_id)
                is_in_step = await self._exchange()
            except ServerUnreachable:
                is_in_step = False
            except DomovoiError as error:
                is_in_step = False
                self._note(error)
            except sqlite3.Error:
                is_in_step = False
                log.exception("the node's database does not work")
            pause = random.uniform(*POLL_S) if is_in_step else backoff.next_s()  # noqa: S311
            if is_in_step:
                backoff.reset()
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _exchange(self) -> bool:
        """Pull, do what is asked, push. False without a token. Raises ServerUnreachable, DomovoiError."""
        if self.token is None:
            return False
        await self._pull(self.token)
        await self._claims.look(self._account_id)
        await self._push(self.token)
        self._refused = None
        return True

    async def _pull(self, token: str) -> None:
        while True:
            account = await self._account()
            try:
                pulled = await self._server.pull(token, account.cursor, account.epoch)
            except DomovoiError as error:
                if error.code not in _NEW_HISTORY or account.epoch is None:
                    raise
                log.warning("the server has another history; reading it from the beginning")
                await self._database.transact(lambda c: replica.forget_cursor(c, self._account_id))
                continue
            self._clock.learn(pulled.server_ms)
            take = partial(
                replica.apply,
                account_id=self._account_id,
                node_id=self._node_id,
                pulled=pulled,
                now_ms=self._clock.now_ms(),
            )
            await self._database.transact(take)
            if not pulled.more:
                return

    async def _push(self, token: str) -> None:
        """Push the outbox. Raises DomovoiError for a refusal that waiting may mend."""
        while (push := await self._database.transact(lambda c: replica.next_push(c, self._account_id))) is not None:
            pushed = await self._server.push(token, push)
            self._clock.learn(pushed.server_ms)
            forget = partial(replica.acknowledge, account_id=self._account_id, push=push, acked_dseq=pushed.acked_dseq)
            await self._database.transact(forget)
            if pushed.rejected:
                await self._on_rejection(Code(pushed.rejected[0].code))

    async def _on_rejection(self, code: Code) -> None:
        if code is not Code.CLOCK_AHEAD:
            raise DomovoiError(code)
        now_ms = self._clock.now_ms()
        await self._database.transact(lambda c: replica.restamp(c, self._account_id, now_ms))

    async def _account(self) -> Account:
        account = await self._database.transact(lambda c: replica.find_account(c, self._account_id))
        if account is None:
            raise DomovoiError(Code.NODE_UNKNOWN)
        return account

    def _note(self, error: DomovoiError) -> None:
        if error.code in _TOKEN_CODES:
            self.token = None
            self._log_in_again()
        elif error.code is not self._refused:
            # Once, not at every try: it stays in the outbox, and answers still reach their watchers.
            log.error("the server refuses this node's changes: %s", error)
        self._refused = error.code
