"""Keeping the node's replica and the server's log in step: push what is its own, pull the rest (rules C6, L8-L14)."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from inference_node import clock, replica
from inference_node.backoff import LONGEST_S, Backoff
from inference_node.runs import Place
from inference_node.server_api import ServerApi, Unreachable
from shared.change import EntityType
from shared.errors import Code, DomovoiError
from shared.limits import MAX_PUSH_BYTES, MAX_PUSH_CHANGES
from shared.wire import Pulled, Push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inference_node.database import Database
    from inference_node.grants import Grants

log = logging.getLogger(__name__)

# A poke can be lost, so the log is looked at this often in any case; jittered, or all nodes would come at once.
POLL_S = (30.0, 60.0)
# A push is bounded as a whole: its values may take this much of it.
PUSH_VALUE_BYTES = MAX_PUSH_BYTES * 3 // 4
# What is refused so often in one exchange is not put right by trying again at once.
MOST_RECOVERIES = 5


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
        self._database = database
        self._server = server
        self._grants = grants
        self._on_pulled = on_pulled
        self._wake = asyncio.Event()
        self._wake.set()
        self._token: str | None = None

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
        """Push all, then pull all, putting right what can be put right. Raises DomovoiError, Unreachable."""
        self._token = await self._grants.token(self._account_id)
        recoveries = 0
        while self._token is not None:
            try:
                while await self._push():
                    pass
                while await self._pull():
                    pass
                if not await self._offer_again():
                    return
            except DomovoiError as error:
                recoveries += 1
                if recoveries > MOST_RECOVERIES:
                    raise
                await self._recover(error)

    async def _push(self) -> bool:
        """Push one batch; return whether there may be more."""
        async with self._database.transaction() as connection:
            row = await replica.account(connection, self._account_id)
            batch = await replica.outbox(connection, self._account_id, MAX_PUSH_CHANGES, PUSH_VALUE_BYTES)
        if row is None or batch is None or row["epoch"] is None:
            # Before the first pull the epoch is not known; what waits is pushed after it.
            return False
        try:
            pushed = await self._server.push(self._token or "", Push(row["epoch"], *batch))
        except DomovoiError as refusal:
            if "acked_dseq" in refusal.extra:
                await self._note_pushed(int(refusal.extra["acked_dseq"]), int(refusal.extra["server_ms"]))
            raise
        await self._note_pushed(pushed.acked_dseq, pushed.server_ms)
        if pushed.rejected:
            raise DomovoiError(Code(pushed.rejected[0].code), acked_dseq=pushed.acked_dseq)
        return True

    async def _note_pushed(self, acked_dseq: int, server_ms: int) -> None:
        async with self._database.transaction() as connection:
            await replica.acknowledge(connection, self._account_id, acked_dseq)
        await self._note_time(server_ms)

    async def _pull(self) -> bool:
        """Pull one page; return whether there is more."""
        async with self._database.transaction() as connection:
            row = await replica.account(connection, self._account_id)
            if row is None:
                return False
            since, epoch = row["cursor"], row["epoch"]
        pulled = await self._server.pull(self._token or "", since, epoch)
        cursor = _next_cursor(pulled, since)
        async with self._database.transaction() as connection:
            await replica.apply_pulled(connection, self._account_id, pulled.changes)
            query = "UPDATE account SET cursor = ?, epoch = ? WHERE account_id = ?"
            await connection.execute(query, (cursor, pulled.epoch, self._account_id))
        await self._note_time(pulled.server_ms)
        kinds = {EntityType.MESSAGE, EntityType.CONVERSATION}
        self._on_pulled({Place(self._account_id, change.scope) for change in pulled.changes if change.etype in kinds})
        return pulled.more

    async def _offer_again(self) -> bool:
        """Offer what the server's history lacks once all of it is here; return whether there was anything.

        After the server came back from a backup that is what it lost (L14), after the first pull what the node
        wrote before it.
        """
        async with self._database.transaction() as connection:
            return await replica.offer_missing(connection, self._account_id)

    async def _recover(self, error: DomovoiError) -> None:
        """Put right what the server refused. Raises the error again when this node can't."""
        match error.code:
            case Code.TOKEN_EXPIRED | Code.TOKEN_INVALID | Code.DEVICE_REVOKED:
                before = self._token
                self._token = await self._grants.token(self._account_id, refused=before)
                if self._token == before:
                    raise error
            case Code.CLOCK_AHEAD:
                await self._restamp(error)
            case Code.EPOCH_CHANGED | Code.HISTORY_TRIMMED:
                log.warning("the server has another history; pulling from the beginning")
                async with self._database.transaction() as connection:
                    await replica.begin_history(connection, self._account_id)
            case Code.SEQUENCE_GAP:
                await self._rewind(error)
            case Code.DEVICE_FORKED:
                await self._become_new_device()
            case _:
                raise error

    async def _restamp(self, error: DomovoiError) -> None:
        """Stamp again what nobody has acknowledged, with the server's time taken into account (C6)."""
        async with self._database.transaction() as connection:
            waiting = await replica.waiting(connection, self._account_id)
            stamped = await replica.restamp(connection, self._account_id, waiting)
            await replica.replace_after(connection, self._account_id, int(error.extra["acked_dseq"]), stamped)

    async def _rewind(self, error: DomovoiError) -> None:
        """Continue the log where the server has it, if this node ever was there (L8)."""
        last_dseq = int(error.extra.get("last_dseq", 0))
        async with self._database.transaction() as connection:
            if await replica.hash_at(connection, self._account_id, last_dseq) is not None:
                waiting = await replica.waiting(connection, self._account_id)
                await replica.replace_after(connection, self._account_id, last_dseq, waiting)
                return
        await self._become_new_device()

    async def _become_new_device(self) -> None:
        """Have the server make this node a new device, whose log begins with what waits (`replica.serve`)."""
        async with self._database.transaction() as connection:
            row = await replica.account(connection, self._account_id)
        if row is not None:
            log.warning("the server knows another history of this node: going on as a new device")
            await self._grants.refresh(forked=[row["device_id"]])
            self._token = await self._grants.token(self._account_id)

    async def _note_time(self, server_ms: int) -> None:
        async with self._database.transaction() as connection:
            query = "UPDATE account SET offset_ms = ? WHERE account_id = ?"
            await connection.execute(query, (server_ms - clock.now_ms(), self._account_id))

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


def _next_cursor(pulled: Pulled, since: int) -> int:
    if not pulled.more:
        return pulled.head
    return pulled.changes[-1].seq if pulled.changes else since
