"""The table of runs: one row an answer, made before its generation and never twice (rules Q1, Q2, Q7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sqlite3 import Connection


class RunRow(NamedTuple):
    """A run as the disk knows it; `body` is the text saved last while it ran."""

    account_id: bytes
    answer_id: bytes
    conversation_id: bytes
    state: str
    body: str
    started_ms: int


def claim(connection: Connection, account_id: bytes, answer_id: bytes, conversation_id: bytes, now_ms: int) -> bool:
    """Make the row of a queued run. False when there is one already: the table is the mutex."""
    connection.execute(
        "INSERT OR IGNORE INTO run (account_id, answer_id, conversation_id, state, started_ms) "
        "SELECT ?, ?, ?, 'queued', ? WHERE NOT EXISTS (SELECT 1 FROM run WHERE account_id = ? AND answer_id = ?)",
        (account_id, answer_id, conversation_id, now_ms, account_id, answer_id),
    )
    (count,) = connection.execute("SELECT changes()").fetchone()
    return bool(count)


def find(connection: Connection, account_id: bytes, answer_id: bytes) -> RunRow | None:
    """Return a run's row."""
    row = connection.execute(
        "SELECT account_id, answer_id, conversation_id, state, body, started_ms FROM run "
        "WHERE account_id = ? AND answer_id = ?",
        (account_id, answer_id),
    ).fetchone()
    return None if row is None else RunRow(*row)


def save_state(connection: Connection, account_id: bytes, answer_id: bytes, state: str) -> None:
    """Note what became of a run. The text of a finished one is in its cell."""
    connection.execute(
        "UPDATE run SET state = ?, body = CASE WHEN ? = 'running' THEN body ELSE '' END "
        "WHERE account_id = ? AND answer_id = ?",
        (state, state, account_id, answer_id),
    )


def save_body(connection: Connection, account_id: bytes, answer_id: bytes, body: str) -> None:
    """Save the text so far, for the case that this process is killed."""
    connection.execute(
        "UPDATE run SET body = ? WHERE account_id = ? AND answer_id = ? AND state = 'running'",
        (body, account_id, answer_id),
    )


def orphans(connection: Connection) -> list[RunRow]:
    """Return the runs that an earlier process left running; forget those it had not begun, for they are in the log."""
    connection.execute("DELETE FROM run WHERE state = 'queued'")
    rows = connection.execute(
        "SELECT account_id, answer_id, conversation_id, state, body, started_ms FROM run WHERE state = 'running'"
    )
    return [RunRow(*row) for row in rows]
