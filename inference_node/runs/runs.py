"""Every run of this node: one generation per answer, detached from whoever watches (rules Q1, Q2, Q5, Q7, S1-S5)."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

from inference_node import metrics
from inference_node.engines.engine import Finished, Piece, Prompt
from inference_node.loading.loader import FATAL
from inference_node.log import replica
from inference_node.runs import run_table
from inference_node.runs.prompting import Begun, answer
from inference_node.runs.run import Asked, Run
from shared.errors import Code, DomovoiError
from shared.limits import REPLAY_KEPT_S
from shared.runs import Ended, Notice, Started
from shared.values import FINAL_STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.loading.keeper import Keeper
    from inference_node.loading.ready import Ready
    from inference_node.log.database import Database
    from inference_node.runs.turns import Ticket, Turns
    from shared.values import AnswerState

log = logging.getLogger(__name__)

# How much of an answer a power cut may cost, seconds of it.
CHECKPOINT_S = 2.0

AccountAndAnswer = tuple[bytes, bytes]


class Place(NamedTuple):
    """A conversation of an account."""

    account: bytes
    conversation: bytes


class Runs:
    """Starts runs, finds them again, stops them. `on_written` is called after each change of the node's own."""

    def __init__(self, database: Database, keeper: Keeper, turns: Turns, on_written: Callable[[Place], None]) -> None:
        self._database = database
        self._keeper = keeper
        self._turns = turns
        self._on_written = on_written
        self._runs: dict[AccountAndAnswer, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()

    async def start(self, asked: Asked) -> AnswerState:
        """Start a run, or attach to the one that the answer has (Q2), and return its state.

        Raises DomovoiError `engine_busy`, `token_invalid` for an account that this node does not serve.
        """
        key = (asked.account, asked.answer)
        async with self._starting:
            if (run := self._runs.get(key)) is not None:
                return run.state
            async with self._database.transaction() as connection:
                if (state := await run_table.state(connection, *key)) is not None:
                    return state
                if await replica.account(connection, asked.account) is None:
                    raise DomovoiError(Code.TOKEN_INVALID)
                ticket = self._turns.take(asked.account.hex(), self._keeper.key(asked.model))
                try:
                    await run_table.claim(connection, *key, asked.conversation, asked.lease)
                except BaseException:
                    ticket.release()
                    raise
            run = self._runs[key] = Run(asked)
        task = asyncio.create_task(self._run(run, ticket), name=f"run {asked.answer.hex()}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run.state

    def find(self, account: bytes, answer_id: bytes) -> Run | None:
        """Return the run while its events are kept."""
        return self._runs.get((account, answer_id))

    def is_open(self, account: bytes, answer_id: bytes) -> bool:
        """Say whether the answer's run is still to end."""
        run = self._runs.get((account, answer_id))
        return run is not None and run.state not in FINAL_STATES

    async def state(self, account: bytes, answer_id: bytes) -> AnswerState | None:
        """Return the state of the answer's run, or None when this node has never run it."""
        async with self._database.transaction() as connection:
            return await run_table.state(connection, account, answer_id)

    def stop(self, account: bytes, answer_id: bytes) -> bool:
        """Stop the run, wherever it is; the engine is free at once. Returns False when there is no such run."""
        run = self._runs.get((account, answer_id))
        if run is None:
            return False
        run.stop()
        return True

    async def settle(self, place: Place, answer_id: bytes, state: State, lease: bytes | None = None) -> None:
        """Write the final state of an answer that has no run here, and will not get one."""
        account, conversation = place
        async with self._starting, self._database.transaction() as connection:
            if await run_table.state(connection, account, answer_id) is not None:
                return
            await run_table.claim(connection, account, answer_id, conversation, lease)
            ended = run_table.Unfinished(account, answer_id, conversation, "", lease)
            await run_table.finish(connection, ended, state)
        self._on_written(place)

    async def settle_orphans(self) -> None:
        """End what an earlier process of this node has left running (Q7), and forget what it had only queued.

        The log still holds those requests, and they are claimed again.
        """
        async with self._database.transaction() as connection:
            await run_table.forget_queued(connection)
            for orphan in await run_table.running(connection):
                state = State(state="interrupted", code=Code.NODE_RESTARTED)
                await run_table.finish(connection, orphan, state)
                log.warning("answer %s was interrupted by the end of the node", orphan.answer.hex())

    async def close(self) -> None:
        """End all runs as interrupted, keeping what they have said."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, run: Run, ticket: Ticket) -> None:
        try:
            if await _turn(run, ticket):
                state = await self._generate(run)
            else:
                state = State(state="stopped")
        except asyncio.CancelledError:
            state = State(state="interrupted", code=Code.NODE_RESTARTED)
        except Exception:
            # Whatever went wrong, the answer must not stay "running" before people's eyes.
            log.exception("answer %s failed", run.asked.answer.hex())
            state = State(state="failed", code=Code.INTERNAL)
        finally:
            ticket.release()
        await self._end(run, state)

    async def _generate(self, run: Run) -> State:
        """Make the answer and return what became of it."""
        attempt = _Attempt()
        run.begin()
        metrics.runs_started.inc()
        for is_last in (False, True):
            attempt = _Attempt()
            try:
                await self._try(run, attempt)
            except DomovoiError as error:
                attempt.code = error.code
                may_begin_anew = attempt.ready is not None and self._keeper.failed(attempt.ready, error)
                # What somebody has seen a word of is never replayed.
                if may_begin_anew and not run.text and not run.stopping.is_set() and not is_last:
                    run.replay.append(Notice(error.code))
                    continue
            finally:
                if attempt.ready is not None:
                    self._keeper.release(attempt.ready)
            break
        return _outcome(run, attempt)

    async def _try(self, run: Run, attempt: _Attempt) -> None:
        """Have an engine answer. Raises DomovoiError when it can't, or fails."""
        asked = run.asked
        ready = attempt.ready = await self._ready(run)
        if ready is None:
            return
        await self._write_running(run, ready)
        checkpoint = time.monotonic()
        prompt = Prompt(asked.path, asked.sampling, owner=asked.account.hex())
        async with aclosing(answer(ready, prompt)) as events:
            async for event in events:
                match event:
                    case Begun(dropped, generation):
                        attempt.dropped = dropped
                        run.follow(generation)
                        run.replay.append(Started(ready.model.name, ready.engine.name, dropped))
                    case Piece():
                        run.say(event.text, event.count)
                    case Finished():
                        attempt.finished = event
                        self._keeper.worked(ready)
                    case _:
                        pass
                if time.monotonic() - checkpoint > CHECKPOINT_S:
                    await self._checkpoint(run)
                    checkpoint = time.monotonic()

    async def _ready(self, run: Run) -> Ready | None:
        """Return a loaded engine, or None when the run is stopped first: loading goes on for the next one."""
        loading = asyncio.create_task(self._keeper.acquire(run.asked.model))
        stopping = asyncio.create_task(run.stopping.wait())
        try:
            await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                return loading.result()
        finally:
            stopping.cancel()
            loading.cancel()
        return None

    async def _write_running(self, run: Run, ready: Ready) -> None:
        asked = run.asked
        state = State(state="running", model=ready.model.name, engine=ready.engine.name)
        async with self._database.transaction() as connection:
            begun = run_table.Unfinished(asked.account, asked.answer, asked.conversation, "", asked.lease)
            await run_table.begin(connection, begun, state)
        self._on_written(Place(asked.account, asked.conversation))

    async def _checkpoint(self, run: Run) -> None:
        async with self._database.transaction() as connection:
            await run_table.save_text(connection, run.asked.account, run.asked.answer, run.text)

    async def _end(self, run: Run, state: State) -> None:
        """Write body and state as changes of the node's own, and tell the watchers (S5)."""
        run.flush()
        asked = run.asked
        ended = run_table.Unfinished(asked.account, asked.answer, asked.conversation, run.text, asked.lease)
        try:
            async with self._database.transaction() as connection:
                changes = await run_table.finish(connection, ended, state)
        except Exception:
            # A full disk, say. Who watches is told now; the table still has the run, and the next start settles it.
            log.exception("answer %s could not be written", asked.answer.hex())
            state, changes = State(state="failed", code=Code.INTERNAL), []
        run.state = state.state
        run.replay.append(Ended(state, changes))
        metrics.runs_ended.labels(state.state).inc()
        self._on_written(Place(asked.account, asked.conversation))
        asyncio.get_running_loop().call_later(REPLAY_KEPT_S, self._runs.pop, (asked.account, asked.answer), None)


class _Attempt:
    """One engine's try at an answer."""

    def __init__(self) -> None:
        self.ready: Ready | None = None
        self.dropped = 0
        self.finished: Finished | None = None
        self.code: Code | None = None


def _outcome(run: Run, attempt: _Attempt) -> State:
    name: AnswerState = "done"
    ready, finished = attempt.ready, attempt.finished
    if attempt.code is not None:
        name = "interrupted" if attempt.code in FATAL else "failed"
    elif finished is None or (finished.reason == "stopped" and not run.is_full):
        name = "stopped"
    return State(
        state=name,
        code=attempt.code,
        model=ready.model.name if ready else run.asked.model,
        engine=ready.engine.name if ready else None,
        prompt_tokens=finished.prompt_tokens if finished else None,
        completion_tokens=finished.completion_tokens if finished else run.completion_tokens or None,
        first_token_ms=run.first_token_ms,
        duration_ms=run.duration_ms,
        dropped_messages=attempt.dropped or None,
    )


async def _turn(run: Run, ticket: Ticket) -> bool:
    """Wait for the run's turn; return False when it is stopped before."""
    turn = asyncio.create_task(ticket.wait())
    stop = asyncio.create_task(run.stopping.wait())
    try:
        await asyncio.wait({turn, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        turn.cancel()
        stop.cancel()
    return not run.stopping.is_set()
