"""Leases: which node may run an answer that was asked of any node (rules Q9, Q10).

A lease that has run out is its holder's until another node claims it, so an answer that took a detour is not lost.
Claims and pushes lock the account first; so of a claim and a seal at the same time one comes first, and the other
sees it: the seal is below the claim's `head`, or it is refused.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, select

from shared.errors import Code, DomovoiError
from shared.limits import LEASE_S, LEASE_TOKEN_BYTES
from shared.wire import IfLease, Lease, LeaseRequest
from sync_server import clock
from sync_server.log.books import lock_books
from sync_server.store.tables import lease, node_grant

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database


async def lease_answer(database: Database, account_id: bytes, device_id: bytes, wish: LeaseRequest) -> Lease:
    """Claim, renew or release. Raises DomovoiError lease_lost, and node_unknown for a device that is no node."""
    return await database.transact(lambda connection: _lease(connection, account_id, device_id, wish))


async def holds_lease(connection: Connection, account_id: bytes, held: IfLease) -> bool:
    """Say whether the lease is still this one, in a transaction that has locked the account."""
    row = await connection.one(select(lease.c.token).where(_is(account_id, held.answer)))
    return row is not None and row["token"] == held.token


async def _lease(connection: Connection, account_id: bytes, device_id: bytes, wish: LeaseRequest) -> Lease:
    books = await lock_books(connection, account_id)
    node_id = await _node_of(connection, account_id, device_id)
    row = await connection.one(select(lease).where(_is(account_id, wish.answer)))
    now_ms = clock.now_ms()
    expires_ms = now_ms + LEASE_S * 1000
    token = wish.token
    if wish.action == "claim":
        if row is not None and row["node_id"] != node_id and row["expires_ms"] > now_ms:
            raise DomovoiError(Code.LEASE_LOST)
        # Its own node may claim again: the answer to the first try was lost on the way.
        token = secrets.token_bytes(LEASE_TOKEN_BYTES)
    elif token is None:
        raise DomovoiError(Code.BAD_REQUEST, "The token of the lease is missing.")
    elif row is None or row["token"] != token:
        raise DomovoiError(Code.LEASE_LOST)
    if wish.action == "release":
        await connection.run(delete(lease).where(_is(account_id, wish.answer)))
        expires_ms = now_ms
    else:
        key = {"account_id": account_id, "answer": wish.answer}
        held = {"node_id": node_id, "token": token, "expires_ms": expires_ms}
        await connection.run(connection.dialect.upsert(lease, [{**key, **held}]))
    return Lease(wish.answer, token, expires_ms, books["head"], now_ms)


async def _node_of(connection: Connection, account_id: bytes, device_id: bytes) -> bytes:
    columns = node_grant.c
    row = await connection.one(
        select(columns.node_id).where(columns.account_id == account_id, columns.device_id == device_id)
    )
    if row is None:
        raise DomovoiError(Code.NODE_UNKNOWN, "Only a PC that runs models may hold a lease.")
    node_id: bytes = row["node_id"]
    return node_id


def _is(account_id: bytes, answer: bytes) -> ColumnElement[bool]:
    return (lease.c.account_id == account_id) & (lease.c.answer == answer)
