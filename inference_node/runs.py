"""The runs of this process: queued, generating, ended and still kept (rules Q1-Q7, S1-S5)."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from typing import TYPE_CHECKING

from inference_node.run import Run
from shared.errors import Code, DomovoiError
from shared.limits import REPLAY_KEPT_S
from shared.values import FINAL_STATES, State

if TYPE_CHECKING:
    from inference_node.engine_keeper import EngineKeeper
    from inference_node.metrics import Metrics
    from inference_node.models import Model
    from inference_node.run_records import RunRecords
    from inference_node.turns import Turns
    from shared.wire import StartAnswer

log = logging.getLogger(__name__)

CHECKPOINT_S = 2.0

RunKey = tuple[bytes, bytes]


class Runs:
    """Every run by account and answer. A run is a task of its own: no connection carries it."""

    def __init__(self, records: RunRecords, keeper: EngineKeeper, turns: Turns, metrics: Metrics) -> None:
        self._records = records
        self._keeper = keeper
        self._turns = turns
        self._metrics = metrics
        self._runs: dict[RunKey, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, account_id: bytes, answer_id: bytes) -> Run | None:
        """Return the run while its events are kept."""
        return self._runs.get((account_id, answer_id))

    async def start(self, account_id: bytes, start: StartAnswer) -> str:
        """Start the run, or attach to the one there is, whatever its state (Q2); return its state.

        Raises DomovoiError engine_busy when the queue is full; then nothing was started.
        """
        key = (account_id, start.answer)
        if (running := self._runs.get(key)) is not None:
            return running.state
        turn = self._turns.ask(account_id)
        run = Run(account_id, start, turn, self._records.now_ms())
        # Known before anything is awaited, so that a second start finds it.
        self._runs[key] = run
        is_claimed = False
        try:
            is_claimed = await self._records.claim(run)
        finally:
            if not is_claimed:
                del self._runs[key]
                self._turns.leave(turn)
        if not is_claimed:
            row = await self._records.find(account_id, start.answer)
            return "interrupted" if row is None else row.state
        self._metrics.runs_started.inc()
        task = asyncio.create_task(self._execute(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run.state

    async def stop(self, account_id: bytes, answer_id: bytes) -> bool:
        """Stop a run wherever it stands; false when none is going on here."""
        run = self.find(account_id, answer_id)
        if run is None or run.state in FINAL_STATES:
            return False
        run.is_stopping.set()
        if run.is_generating:
            await self._keeper.stop()
        elif run.state == "queued":
            self._turns.leave(run.turn)
        return True

    async def recover(self) -> None:
        """Mark as interrupted what an earlier process left running (Q7)."""
        if count := await self._records.recover():
            log.warning("%d answers were interrupted when this node last ended", count)

    async def close(self) -> None:
        """End every run as interrupted, with the text there is, and tell its watchers."""
        for run in self._runs.values():
            run.is_closing = True
        for account_id, answer_id in tuple(self._runs):
            await self.stop(account_id, answer_id)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _execute(self, run: Run) -> None:
        try:
            state = await self._generate(run)
        except DomovoiError as error:
            state = run.failed(error.code)
        except Exception:
            log.exception("a run failed for a reason that nobody expected")
            state = run.failed(Code.INTERNAL)
        finally:
            self._turns.leave(run.turn)
        try:
            changes = await self._records.end(run, state)
        except sqlite3.Error:
            # Watchers must not wait for ever; the table still says running, so the next start settles the answer.
            log.exception("the end of a run could not be written")
            state, changes = run.failed(Code.INTERNAL), []
        run.finish(state, changes)
        self._metrics.runs_ended.labels(state.state).inc()
        self._metrics.tokens.inc(run.completion_tokens)
        asyncio.get_running_loop().call_later(REPLAY_KEPT_S, self._runs.pop, (run.account_id, run.answer_id), None)

    async def _generate(self, run: Run) -> State:
        """Wait for the turn, have the model loaded, generate. Returns the end; raises DomovoiError."""
        if not await run.turn.is_granted() or run.is_stopping.is_set():
            return run.stopped()
        model = self._keeper.resolve(run.request.model)
        await self._records.begin(run, run.begin(model.name, self._keeper.engine_name))
        if not await self._is_prepared(run, model):
            return run.stopped()
        checkpoints = asyncio.create_task(self._save_checkpoints(run))
        try:
            return await run.generate(self._keeper, model)
        finally:
            checkpoints.cancel()

    async def _is_prepared(self, run: Run, model: Model) -> bool:
        """Have the model loaded; false when the run is stopped first, while the model goes on loading."""
        preparing = asyncio.create_task(self._keeper.prepare(model))
        stopping = asyncio.create_task(run.is_stopping.wait())
        await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not preparing.done():
            preparing.add_done_callback(_take_outcome)
            return False
        preparing.result()
        return not run.is_stopping.is_set()

    async def _save_checkpoints(self, run: Run) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            await self._records.checkpoint(run)


def _take_outcome(task: asyncio.Task[None]) -> None:
    # Nobody waits for it; the keeper has noted what went wrong.
    if not task.cancelled():
        task.exception()
