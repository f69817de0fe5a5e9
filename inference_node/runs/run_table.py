"""The table of runs: the mutex of rule Q1, kept over restarts, and what goes into the log with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from inference_node.log import replica
from inference_node.log.replica import Write
from shared.change import EntityType, MessageField
from shared.wire import IfLease

if TYPE_CHECKING:
    from aiosqlite import Connection

    from shared.change import Change
    from shared.values import AnswerState, State


class Unfinished(NamedTuple):
    """A run that is to be ended, with the text it has; `lease` is the token under which it counts, if there is one."""

    account: bytes
    answer: bytes
    conversation: bytes
    text: str
    lease: bytes | None = None


async def state(connection: Connection, account: bytes, answer: bytes) -> AnswerState | None:
    """Return the state of the answer's run, or None when there is none."""
    query = "SELECT state FROM run WHERE account_id = ? AND answer = ?"
    async with connection.execute(query, (account, answer)) as cursor:
        row = await cursor.fetchone()
    return cast("AnswerState", row["state"]) if row else None


async def claim(
    connection: Connection, account: bytes, answer: bytes, conversation: bytes, lease: bytes | None = None
) -> None:
    """Take the answer for this node. Raises IntegrityError when it is taken."""
    query = "INSERT INTO run (account_id, answer, conversation, state, lease) VALUES (?, ?, ?, 'queued', ?)"
    await connection.execute(query, (account, answer, conversation, lease))


async def begin(connection: Connection, run: Unfinished, running: State) -> None:
    """Take note, here and in the log, that the engine has begun."""
    query = "UPDATE run SET state = ? WHERE account_id = ? AND answer = ?"
    await connection.execute(query, (running.state, run.account, run.answer))
    await replica.write(connection, run.account, [_state_of(run, running)], _lease_of(run))


async def save_text(connection: Connection, account: bytes, answer: bytes, text: str) -> None:
    """Keep what the run has said, for the case that nobody ends it properly (Q7)."""
    query = "UPDATE run SET text = ? WHERE account_id = ? AND answer = ?"
    await connection.execute(query, (text, account, answer))


async def finish(connection: Connection, run: Unfinished, final: State) -> list[Change]:
    """Write the final state, and the body if there is one, here and in the log; return the changes."""
    query = "UPDATE run SET state = ?, text = '' WHERE account_id = ? AND answer = ?"
    await connection.execute(query, (final.state, run.account, run.answer))
    body = Write(EntityType.MESSAGE, run.answer, MessageField.BODY, run.conversation, run.text)
    writes = [body] if run.text else []
    writes.append(_state_of(run, final))
    return await replica.write(connection, run.account, writes, _lease_of(run))


async def running(connection: Connection) -> list[Unfinished]:
    """Return the runs that have begun and not ended."""
    query = "SELECT account_id, answer, conversation, text, lease FROM run WHERE state = 'running'"
    return [Unfinished(*row) for row in await connection.execute_fetchall(query)]


async def forget_queued(connection: Connection) -> None:
    """Free the answers that no engine has begun."""
    await connection.execute("DELETE FROM run WHERE state = 'queued'")


def _state_of(run: Unfinished, value: State) -> Write:
    return Write(EntityType.MESSAGE, run.answer, MessageField.STATE, run.conversation, value)


def _lease_of(run: Unfinished) -> IfLease | None:
    return None if run.lease is None else IfLease(run.answer, run.lease)
