"""The node's copy of an account's log, and its own changes on their way into it (rules C1-C6, L4-L15).

Functions take a connection inside a transaction of `Database`; what belongs together is one transaction of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shared import clock, values
from shared.canonical import FIRST_HASH, fold_hashes
from shared.change import Change, ConversationField, EntityType, MessageField
from shared.limits import MAX_CLOCK_AHEAD_MS, MAX_PUSH_BYTES, MAX_PUSH_CHANGES
from shared.merge import wins
from shared.messages import Message, fold
from shared.values import FINAL_STATES, Request, State
from shared.wire import Pulled, Push

if TYPE_CHECKING:
    from sqlite3 import Connection

# Room in a push for a change's envelope beside its value.
_ENVELOPE_BYTES = 80


class Account(NamedTuple):
    """Where an account's replica stands. `epoch` is None before the first pull."""

    account_id: bytes
    device_id: bytes
    epoch: int | None
    cursor: int
    clock: bytes
    last_dseq: int
    acked_dseq: int
    acked_hash: bytes


class Write(NamedTuple):
    """One field of a message to write."""

    message_id: bytes
    conversation_id: bytes
    field: MessageField
    value: object


class OpenRequest(NamedTuple):
    """A request for this node that has no final state yet."""

    answer_id: bytes
    conversation_id: bytes


def accounts(connection: Connection) -> list[Account]:
    """Return the accounts that this node serves."""
    rows = connection.execute(
        "SELECT account_id, device_id, epoch, cursor, clock, last_dseq, acked_dseq, acked_hash "
        "FROM account WHERE is_granted"
    )
    return [Account(*row) for row in rows]


def find_account(connection: Connection, account_id: bytes) -> Account | None:
    """Return an account, whether it is served now or not."""
    row = connection.execute(
        "SELECT account_id, device_id, epoch, cursor, clock, last_dseq, acked_dseq, acked_hash "
        "FROM account WHERE account_id = ?",
        (account_id,),
    ).fetchone()
    return None if row is None else Account(*row)


def grant(connection: Connection, devices: dict[bytes, bytes], now_ms: int) -> None:
    """Serve exactly these accounts, as these devices. Nothing of an account no longer served is deleted."""
    connection.execute("UPDATE account SET is_granted = 0")
    for account_id, device_id in devices.items():
        account = find_account(connection, account_id)
        connection.execute(
            "INSERT INTO account (account_id, device_id, is_granted) VALUES (?, ?, 1) "
            "ON CONFLICT (account_id) DO UPDATE SET device_id = excluded.device_id, is_granted = 1",
            (account_id, device_id),
        )
        if account is not None and account.device_id != device_id:
            # Another device starts another chain, with what nobody has acknowledged as its beginning.
            connection.execute(
                "UPDATE account SET acked_dseq = 0, acked_hash = ? WHERE account_id = ?", (FIRST_HASH, account_id)
            )
            restamp(connection, account_id, now_ms)


# Reading.


def conversation(connection: Connection, account_id: bytes, conversation_id: bytes) -> dict[bytes, Message]:
    """Return the conversation's messages by id."""
    rows = connection.execute(
        "SELECT clk, etype, eid, field, scope, kid, value FROM cell WHERE account_id = ? AND scope = ?",
        (account_id, conversation_id),
    )
    return fold(Change(*row) for row in rows)


def is_conversation_deleted(connection: Connection, account_id: bytes, conversation_id: bytes) -> bool:
    """Say whether the conversation is deleted."""
    row = connection.execute(
        "SELECT value FROM cell WHERE account_id = ? AND etype = ? AND eid = ? AND field = ?",
        (account_id, EntityType.CONVERSATION, conversation_id, ConversationField.DELETED),
    ).fetchone()
    return row is not None and values.decode(row[0], bool) is True


def open_requests(connection: Connection, account_id: bytes) -> list[OpenRequest]:
    """Return the requests for this node without a final state, oldest first (ids are ordered by time)."""
    rows = connection.execute(
        "SELECT answer_id, scope FROM open_request WHERE account_id = ? ORDER BY answer_id", (account_id,)
    )
    return [OpenRequest(*row) for row in rows]


# Pulling.


def apply(connection: Connection, account_id: bytes, node_id: bytes, pulled: Pulled, now_ms: int) -> None:
    """Take a page of the log: cells, clock and cursor, together (L15)."""
    account = _account(connection, account_id)
    seen = account.clock
    for change in pulled.changes:
        _merge(connection, account_id, node_id, change)
        seen = clock.observe(seen, change.clk, now_ms, MAX_CLOCK_AHEAD_MS)
    # While there is more, the page ends before the head.
    cursor = pulled.changes[-1].seq if pulled.more else pulled.head
    connection.execute(
        "UPDATE account SET epoch = ?, cursor = ?, clock = ? WHERE account_id = ?",
        (pulled.epoch, cursor, seen, account_id),
    )


def forget_cursor(connection: Connection, account_id: bytes) -> None:
    """Have the log pulled from its beginning: the server has another history, or has trimmed this one (L14)."""
    connection.execute("UPDATE account SET epoch = NULL, cursor = 0 WHERE account_id = ?", (account_id,))


def _merge(connection: Connection, account_id: bytes, node_id: bytes, change: Change) -> None:
    key = (account_id, change.etype, change.eid, change.field)
    row = connection.execute(
        "SELECT clk, etype, eid, field, scope, kid, value FROM cell "
        "WHERE account_id = ? AND etype = ? AND eid = ? AND field = ?",
        key,
    ).fetchone()
    # A pulled change is made a plain one: two are compared without their sequence numbers.
    challenger = Change(*(getattr(change, name) for name in Change.__struct_fields__))
    if not wins(challenger, None if row is None else Change(*row)):
        return
    connection.execute(
        "INSERT OR REPLACE INTO cell (account_id, clk, etype, eid, field, scope, kid, value) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (account_id, *_columns(challenger)),
    )
    if change.etype == EntityType.MESSAGE and change.field in {MessageField.REQUEST, MessageField.STATE}:
        _note_request(connection, account_id, node_id, change)


def _note_request(connection: Connection, account_id: bytes, node_id: bytes, change: Change) -> None:
    """Keep the list of open requests true, whichever of request and state arrives first."""
    fields = dict(
        connection.execute(
            "SELECT field, value FROM cell WHERE account_id = ? AND etype = ? AND eid = ? AND field IN (?, ?)",
            (account_id, EntityType.MESSAGE, change.eid, MessageField.REQUEST, MessageField.STATE),
        ).fetchall()
    )
    request = values.decode(fields.get(MessageField.REQUEST, b""), Request)
    state = values.decode(fields.get(MessageField.STATE, b""), State)
    is_open = request is not None and request.node == node_id and (state is None or state.state not in FINAL_STATES)
    if is_open:
        connection.execute(
            "INSERT OR IGNORE INTO open_request (account_id, answer_id, scope) VALUES (?, ?, ?)",
            (account_id, change.eid, change.scope),
        )
    else:
        connection.execute("DELETE FROM open_request WHERE account_id = ? AND answer_id = ?", (account_id, change.eid))


# Writing and pushing.


def write(connection: Connection, account_id: bytes, node_id: bytes, writes: list[Write], now_ms: int) -> list[Change]:
    """Make changes of this node's own: clock, dseq, cells and outbox rows, together (L15). Returns them."""
    account = _account(connection, account_id)
    last, dseq = account.clock, account.last_dseq
    changes = []
    for item in writes:
        last, dseq = clock.tick(last, now_ms, account.device_id), dseq + 1
        change = Change(
            clk=last,
            etype=EntityType.MESSAGE,
            eid=item.message_id,
            field=item.field,
            scope=item.conversation_id,
            kid=0,
            value=values.encode(item.value),
        )
        _put(connection, account_id, dseq, change)
        _merge(connection, account_id, node_id, change)
        changes.append(change)
    connection.execute("UPDATE account SET clock = ?, last_dseq = ? WHERE account_id = ?", (last, dseq, account_id))
    return changes


def next_push(connection: Connection, account_id: bytes) -> Push | None:
    """Return the next batch of the outbox, or None when there is nothing to push or no epoch is known yet."""
    account = _account(connection, account_id)
    rows = connection.execute(
        "SELECT clk, etype, eid, field, scope, kid, value FROM outbox WHERE account_id = ? ORDER BY dseq LIMIT ?",
        (account_id, MAX_PUSH_CHANGES),
    )
    changes: list[Change] = []
    size = 0
    for row in rows:
        change = Change(*row)
        size += len(change.value) + _ENVELOPE_BYTES
        if changes and size > MAX_PUSH_BYTES // 2:
            break
        changes.append(change)
    if not changes or account.epoch is None:
        return None
    return Push(account.epoch, account.acked_dseq + 1, account.acked_hash, changes)


def acknowledge(connection: Connection, account_id: bytes, push: Push, acked_dseq: int) -> None:
    """Forget what the server has committed, up to `acked_dseq`."""
    count = acked_dseq - push.first_dseq + 1
    if count <= 0:
        return
    hashes = fold_hashes(push.prev_hash, push.first_dseq, push.changes[:count])
    connection.execute(
        "UPDATE account SET acked_dseq = ?, acked_hash = ? WHERE account_id = ?",
        (push.first_dseq + len(hashes) - 1, hashes[-1], account_id),
    )
    connection.execute("DELETE FROM outbox WHERE account_id = ? AND dseq <= ?", (account_id, acked_dseq))


def restamp(connection: Connection, account_id: bytes, now_ms: int) -> None:
    """Give everything in the outbox new clocks at `now_ms`, by the account's device, from `acked_dseq + 1` (C6).

    Nobody has acknowledged these, so nobody has seen their old clocks but watchers of a run, who take the later.
    """
    account = _account(connection, account_id)
    rows = connection.execute(
        "SELECT clk, etype, eid, field, scope, kid, value FROM outbox WHERE account_id = ? ORDER BY dseq", (account_id,)
    ).fetchall()
    old = [Change(*row) for row in rows]
    seen = connection.execute(
        "SELECT MAX(clk) FROM cell WHERE account_id = ?1 AND clk NOT IN (SELECT clk FROM outbox WHERE account_id = ?1)",
        (account_id,),
    ).fetchone()[0]
    last = clock.observe(clock.ZERO, seen or clock.ZERO, now_ms, MAX_CLOCK_AHEAD_MS)
    connection.execute("DELETE FROM outbox WHERE account_id = ?", (account_id,))
    dseq = account.acked_dseq
    for change in old:
        last, dseq = clock.tick(last, now_ms, account.device_id), dseq + 1
        parts: dict[str, Any] = {name: getattr(change, name) for name in Change.__struct_fields__}
        fresh = Change(**(parts | {"clk": last}))
        _put(connection, account_id, dseq, fresh)
        connection.execute(
            "UPDATE cell SET clk = ? WHERE account_id = ? AND etype = ? AND eid = ? AND field = ? AND clk = ?",
            (last, account_id, change.etype, change.eid, change.field, change.clk),
        )
    connection.execute("UPDATE account SET clock = ?, last_dseq = ? WHERE account_id = ?", (last, dseq, account_id))


def _put(connection: Connection, account_id: bytes, dseq: int, change: Change) -> None:
    connection.execute(
        "INSERT INTO outbox (account_id, dseq, clk, etype, eid, field, scope, kid, value) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (account_id, dseq, *_columns(change)),
    )


def _columns(change: Change) -> tuple[Any, ...]:
    return tuple(getattr(change, name) for name in Change.__struct_fields__)


def _account(connection: Connection, account_id: bytes) -> Account:
    account = find_account(connection, account_id)
    if account is None:
        raise LookupError(f"account {account_id.hex()} was never granted")
    return account
