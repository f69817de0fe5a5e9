"""What the disk knows of runs: the table and the changes in the log, always written together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference_node import replica, run_table
from inference_node.replica import Write
from shared.change import Change, MessageField
from shared.errors import Code
from shared.values import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from inference_node.clock import Clock
    from inference_node.database import Database
    from inference_node.run import Run
    from inference_node.run_table import RunRow


class RunRecords:
    """Writes runs. `on_write` is told which account's outbox grew."""

    def __init__(self, node_id: bytes, database: Database, clock: Clock) -> None:
        self.on_write: Callable[[bytes], None] = lambda _: None
        self._node_id = node_id
        self._database = database
        self._clock = clock

    def now_ms(self) -> int:
        """Return the time that records carry."""
        return self._clock.now_ms()

    async def find(self, account_id: bytes, answer_id: bytes) -> RunRow | None:
        """Return what is known of a run, also of one from before this process."""
        return await self._database.transact(lambda c: run_table.find(c, account_id, answer_id))

    async def claim(self, run: Run) -> bool:
        """Make the run's row; false when there is one already (Q1)."""
        return await self._database.transact(
            lambda c: run_table.claim(c, run.account_id, run.answer_id, run.conversation_id, run.accepted_ms)
        )

    async def begin(self, run: Run, state: State) -> None:
        """Write that the run is going on."""
        await self._database.transact(
            lambda c: self._write(c, run.account_id, run.answer_id, run.conversation_id, None, state)
        )
        self.on_write(run.account_id)

    async def checkpoint(self, run: Run) -> None:
        """Save the text so far, for the case that this process is killed."""
        body = run.body
        await self._database.transact(lambda c: run_table.save_body(c, run.account_id, run.answer_id, body))

    async def end(self, run: Run, state: State) -> list[Change]:
        """Write body and state (Q4); return the changes."""
        # Without a text there is nothing to say but how it ended.
        body = run.body or None
        changes = await self._database.transact(
            lambda c: self._write(c, run.account_id, run.answer_id, run.conversation_id, body, state)
        )
        self.on_write(run.account_id)
        return changes

    async def settle(self, account_id: bytes, answer_id: bytes, conversation_id: bytes, state: State) -> None:
        """Write the end of a request that has no run here: stopped before its claim, or lost (Q6, Q7)."""

        def work(connection: Connection) -> bool:
            now_ms = self._clock.now_ms()
            if not run_table.claim(connection, account_id, answer_id, conversation_id, now_ms):
                return False
            self._write(connection, account_id, answer_id, conversation_id, None, state)
            return True

        if await self._database.transact(work):
            self.on_write(account_id)

    async def recover(self) -> int:
        """Write the end of what an earlier process left running, with the text it had saved (Q7); return how many."""

        def work(connection: Connection) -> int:
            rows = run_table.orphans(connection)
            for row in rows:
                state = State("interrupted", Code.NODE_RESTARTED)
                self._write(connection, row.account_id, row.answer_id, row.conversation_id, row.body or None, state)
            return len(rows)

        return await self._database.transact(work)

    def _write(
        self,
        connection: Connection,
        account_id: bytes,
        answer_id: bytes,
        conversation_id: bytes,
        body: str | None,
        state: State,
    ) -> list[Change]:
        run_table.save_state(connection, account_id, answer_id, state.state)
        writes = [Write(answer_id, conversation_id, MessageField.STATE, state)]
        if body is not None:
            # Before the state, so that whoever sees the end sees the text.
            writes.insert(0, Write(answer_id, conversation_id, MessageField.BODY, body))
        return replica.write(connection, account_id, self._node_id, writes, self._clock.now_ms())
