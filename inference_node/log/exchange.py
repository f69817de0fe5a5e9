"""One exchange of an account's log with the server: push what is its own, read the rest (rules C6, L8-L21, Q10)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from inference_node import clock
from inference_node.log import own_log, replica
from shared.errors import Code, DomovoiError
from shared.limits import MAX_PUSH_BYTES, MAX_PUSH_CHANGES
from shared.wire import Bootstrapped, Digest, IfLease, Pulled, Push, Pushed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from inference_node.log.database import Database
    from shared.change import PulledChange

log = logging.getLogger(__name__)

# A push is bounded as a whole: its values may take this much of it.
PUSH_VALUE_BYTES = MAX_PUSH_BYTES * 3 // 4
# What is refused so often in one exchange is not put right by trying again at once.
MOST_RECOVERIES = 8


class ServerLog(Protocol):
    """The server's side. Every method raises DomovoiError with the server's code, or what its network raises."""

    async def push(self, token: str, batch: Push) -> Pushed:
        """Push changes of the token's device."""

    async def pull(self, token: str, since: int, epoch: int | None) -> Pulled:
        """Return what the log has after `since`."""

    async def bootstrap(self, token: str, after: str | None, scope: bytes | None = None) -> Bootstrapped:
        """Return a page of the account's cells, or of one conversation's."""

    async def digest(self, token: str) -> Digest:
        """Return what the server's cells fold to."""


class Tokens(Protocol):
    """Who this device is to the server."""

    async def token(self, account_id: bytes, refused: str | None = None) -> str | None:
        """Return a sync token that is not the `refused` one; None when the account is not served any more."""

    async def refresh(self, forked: Sequence[bytes] = ()) -> None:
        """Log in anew, as another device for each forked one."""


class Exchange:
    """One account's log. `on_pulled` is called with what a page brought."""

    def __init__(
        self,
        account_id: bytes,
        database: Database,
        server: ServerLog,
        tokens: Tokens,
        on_pulled: Callable[[Sequence[PulledChange]], None] = lambda _: None,
    ) -> None:
        self._account_id = account_id
        self._database = database
        self._server = server
        self._tokens = tokens
        self._on_pulled = on_pulled
        self._token: str | None = None
        # The lease of the push that was sent last.
        self._lease: IfLease | None = None

    async def run(self) -> None:
        """Push all, then read all, putting right what can be put right. Raises what the server's side raises."""
        self._token = await self._tokens.token(self._account_id)
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

    async def verify(self) -> bool:
        """Compare digests (L20). Return False if there is a gap: the next exchange reads everything anew.

        While something waits to be pushed, or the log moves on meanwhile, nothing can be said, and all counts as well.
        """
        theirs = await self._server.digest(self._token or "")
        async with self._database.transaction() as connection:
            row = await replica.account(connection, self._account_id)
            batch = await own_log.outbox(connection, self._account_id, 1, 0)
            if row is None or batch is not None or (row["epoch"], row["cursor"]) != (theirs.epoch, theirs.head):
                return True
            if await replica.digest_of(connection, self._account_id) == (theirs.count, theirs.digest):
                return True
            log.warning("something of the log of %s is missing here; reading all of it", self._account_id.hex())
            await replica.begin_anew(connection, self._account_id)
            return False

    async def _push(self) -> bool:
        """Push one batch; return whether there may be more."""
        async with self._database.transaction() as connection:
            row = await replica.account(connection, self._account_id)
            batch = await own_log.outbox(connection, self._account_id, MAX_PUSH_CHANGES, PUSH_VALUE_BYTES)
        if row is None or batch is None or row["epoch"] is None:
            # Before the first reading the epoch is not known; what waits is pushed after it.
            return False
        self._lease = batch.if_lease
        try:
            pushed = await self._server.push(self._token or "", Push(row["epoch"], *batch))
        except DomovoiError as refusal:
            if "acked_dseq" in refusal.extra:
                refused = Pushed(int(refusal.extra["acked_dseq"]), 0, int(refusal.extra["server_ms"]))
                await self._note_pushed(refused)
            raise
        await self._note_pushed(pushed)
        if pushed.rejected:
            raise DomovoiError(Code(pushed.rejected[0].code), acked_dseq=pushed.acked_dseq)
        return True

    async def _note_pushed(self, pushed: Pushed) -> None:
        async with self._database.transaction() as connection:
            await own_log.acknowledge(connection, self._account_id, pushed.acked_dseq)
            await replica.drop_scopes(connection, self._account_id, pushed.purged)
        await self._note_time(pushed.server_ms)

    async def _pull(self) -> bool:
        """Read one page; return whether there is more."""
        async with self._database.transaction() as connection:
            row = await replica.account(connection, self._account_id)
        if row is None:
            return False
        since, epoch = row["cursor"], row["epoch"]
        if since == 0:
            return await self._read_all(epoch)
        pulled = await self._server.pull(self._token or "", since, epoch)
        cursor = pulled.changes[-1].seq if pulled.more and pulled.changes else pulled.head
        async with self._database.transaction() as connection:
            await replica.apply_pulled(connection, self._account_id, pulled.changes)
            query = "UPDATE account SET cursor = ?, epoch = ? WHERE account_id = ?"
            await connection.execute(query, (cursor, pulled.epoch, self._account_id))
        await self._note_time(pulled.server_ms)
        self._on_pulled(pulled.changes)
        return pulled.more

    async def _read_all(self, epoch: int | None) -> bool:
        """Read all cells by pages (L16); return whether the log may have moved on meanwhile.

        Raises DomovoiError epoch_changed when they are of another history than what is here: that is offered first.
        """
        async with self._database.transaction() as connection:
            # Pages of a reading that was cut short count as little as what was here before it.
            await replica.begin_anew(connection, self._account_id)
        async for page in self._pages(None, epoch):
            async with self._database.transaction() as connection:
                await replica.apply_pulled(connection, self._account_id, page.changes)
                if page.after is None:
                    await replica.end_reading(connection, self._account_id, page.epoch, page.head)
            self._on_pulled(page.changes)
        await self._note_time(page.server_ms)
        return page.head > 0

    async def _pages(self, scope: bytes | None, epoch: int | None) -> AsyncIterator[Bootstrapped]:
        """Yield every page of the account, or of a conversation; there is at least one. Raises epoch_changed."""
        after: str | None = None
        while True:
            page = await self._server.bootstrap(self._token or "", after, scope)
            if epoch not in {None, page.epoch}:
                raise DomovoiError(Code.EPOCH_CHANGED, epoch=page.epoch)
            yield page
            if page.after is None:
                return
            after = page.after

    async def _offer_again(self) -> bool:
        """Offer what the server's history lacks, once all of it is here; return whether there was anything (L21)."""
        async with self._database.transaction() as connection:
            return await replica.offer_missing(connection, self._account_id)

    async def _recover(self, error: DomovoiError) -> None:
        """Put right what the server refused. Raises the error again when this device can't."""
        match error.code:
            case Code.TOKEN_EXPIRED | Code.TOKEN_INVALID | Code.DEVICE_REVOKED:
                before = self._token
                self._token = await self._tokens.token(self._account_id, refused=before)
                if self._token == before:
                    raise error
            case Code.CLOCK_AHEAD:
                await self._restamp(error)
            case Code.EPOCH_CHANGED:
                log.warning("the server has another history; reading all of it")
                async with self._database.transaction() as connection:
                    await replica.begin_history(connection, self._account_id)
            case Code.HISTORY_TRIMMED:
                log.warning("the server's log does not reach back so far; reading everything anew")
                async with self._database.transaction() as connection:
                    await replica.begin_anew(connection, self._account_id)
            case Code.SEQUENCE_GAP:
                await self._rewind(error)
            case Code.DEVICE_FORKED:
                await self._become_new_device()
            case Code.LEASE_LOST if self._lease is not None:
                await self._take_back(self._lease, error)
            case _:
                raise error

    async def _restamp(self, error: DomovoiError) -> None:
        """Stamp again what nobody has acknowledged, with the server's time taken into account (C6)."""
        async with self._database.transaction() as connection:
            waiting = await own_log.waiting(connection, self._account_id)
            stamped = await replica.restamp(connection, self._account_id, waiting)
            await own_log.replace_after(connection, self._account_id, int(error.extra["acked_dseq"]), stamped)

    async def _rewind(self, error: DomovoiError) -> None:
        """Continue the log where the server has it, if this device ever was there (L8)."""
        last_dseq = int(error.extra.get("last_dseq", 0))
        async with self._database.transaction() as connection:
            if await own_log.hash_at(connection, self._account_id, last_dseq) is not None:
                waiting = await own_log.waiting(connection, self._account_id)
                await own_log.replace_after(connection, self._account_id, last_dseq, waiting)
                return
        await self._become_new_device()

    async def _become_new_device(self) -> None:
        """Have the server make this a new device, whose log begins with what waits (`replica.serve`)."""
        async with self._database.transaction() as connection:
            row = await replica.account(connection, self._account_id)
        if row is not None:
            log.warning("the server knows another history of this device: going on as a new one")
            await self._tokens.refresh(forked=[row["device_id"]])
            self._token = await self._tokens.token(self._account_id)

    async def _take_back(self, lease: IfLease, error: DomovoiError) -> None:
        """Take back what another node has answered meanwhile, in one step with what that one wrote (Q10).

        Ours may have won over theirs in the cells and the cursor be past it, so that nobody would send it again.
        """
        log.warning("another node has answered %s; what this one wrote is taken back", lease.answer.hex())
        async with self._database.transaction() as connection:
            row = await replica.account(connection, self._account_id)
            waiting = await own_log.waiting(connection, self._account_id)
        epoch = row["epoch"] if row else None
        scopes = {own.change.scope for own in waiting if own.lease == lease}
        theirs = [
            change for scope in sorted(scopes) async for page in self._pages(scope, epoch) for change in page.changes
        ]
        async with self._database.transaction() as connection:
            await replica.take_back(connection, self._account_id, int(error.extra["acked_dseq"]), lease)
            await replica.apply_pulled(connection, self._account_id, theirs)
        self._on_pulled(theirs)

    async def _note_time(self, server_ms: int) -> None:
        async with self._database.transaction() as connection:
            query = "UPDATE account SET offset_ms = ? WHERE account_id = ?"
            await connection.execute(query, (server_ms - clock.now_ms(), self._account_id))
