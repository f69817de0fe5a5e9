"""Nodes, and which accounts they serve. A grant makes the node a device of the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, Select, delete, select

from shared.errors import Code, DomovoiError
from shared.jws import thumbprint
from sync_server import clock
from sync_server.accounts.devices import create_device, end_device
from sync_server.store.tables import account, device, node, node_grant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.wire import Departure, Level
    from sync_server.store.database import Connection, Database, Row


class NodeKey(NamedTuple):
    """A node as it introduces itself: the id certifies the raw Ed25519 public key, 32 bytes."""

    node_id: bytes
    name: str
    public_key: bytes


class NodeGrant(NamedTuple):
    """One account that a node serves, the device that the node is there, and what the account may do with it."""

    account_id: bytes
    device_id: bytes
    level: Level


async def add_shared_node(connection: Connection, key: NodeKey) -> None:
    """Store a node that serves every account; the first account manages it. Raises DuplicateKey if it is known."""
    await connection.run(node.insert().values(**_new_node(key, is_shared=True)))
    for row in await connection.all(select(account.c.account_id, account.c.is_owner)):
        await _grant(connection, row["account_id"], key.node_id, key.name, "manage" if row["is_owner"] else "use")


async def grant_shared_nodes(connection: Connection, account_id: bytes, level: Level) -> None:
    """Let a new account use every shared node."""
    for row in await connection.all(select(node.c.node_id, node.c.name).where(node.c.is_shared)):
        await _grant(connection, account_id, row["node_id"], row["name"], level)


async def pair_node(connection: Connection, account_id: bytes, key: NodeKey) -> None:
    """Let the account use a node, and manage it if nobody else does. What it has there already stays as it is."""
    is_it = node.c.node_id == key.node_id
    if await connection.one(select(node.c.node_id).where(is_it).with_for_update()) is None:
        await connection.run(node.insert().values(**_new_node(key, is_shared=False)))
    else:
        await connection.run(node.update().where(is_it).values(name=key.name))
    if await connection.one(_living_grants().where(_is_grant(account_id, key.node_id))) is not None:
        return
    level = await level_to_come(connection, account_id, key.node_id)
    # What is left of a grant whose device was revoked.
    await connection.run(delete(node_grant).where(_is_grant(account_id, key.node_id)))
    await _grant(connection, account_id, key.node_id, key.name, level)


async def level_to_come(connection: Connection, account_id: bytes, node_id: bytes) -> Level:
    """Return what the account may do with a node once it is paired: its first account manages it."""
    rows = await connection.all(_living_grants().where(node_grant.c.node_id == node_id))
    levels: dict[bytes, Level] = {row["account_id"]: row["level"] for row in rows}
    return levels.get(account_id) or ("use" if "manage" in levels.values() else "manage")


async def unpair_node(database: Database, account_id: bytes, node_id: bytes) -> None:
    """Take the account's grant away and end the node's device there (rule P6). Raises DomovoiError node_unknown."""

    async def unpair(connection: Connection) -> None:
        is_it = _is_grant(account_id, node_id)
        row = await connection.one(select(node_grant.c.device_id).where(is_it).with_for_update())
        if row is None:
            raise DomovoiError(Code.NODE_UNKNOWN)
        await connection.run(delete(node_grant).where(is_it))
        await end_device(connection, account_id, row["device_id"])

    await database.transact(unpair)


async def find_by_device(database: Database, account_id: bytes, device_id: bytes) -> bytes | None:
    """Return the id of the node that is this device of the account, if one is."""
    for row in await nodes_of(database, account_id):
        if row["device_id"] == device_id:
            node_id: bytes = row["node_id"]
            return node_id
    return None


async def find_by_key(database: Database, key_id: str) -> Row | None:
    """Return the node whose key has that RFC 7638 thumbprint."""
    return await database.one(select(node).where(node.c.key_id == key_id))


async def grants_of(database: Database, node_id: bytes) -> list[NodeGrant]:
    """Return the accounts that the node serves, without those that have revoked it."""
    rows = await database.all(_living_grants().where(node_grant.c.node_id == node_id))
    return [NodeGrant(row["account_id"], row["device_id"], row["level"]) for row in rows]


async def replace_device(database: Database, node_id: bytes, device_id: bytes) -> None:
    """Make the node a new device of the account where it was this one. Another's device is left alone."""
    is_this = (node_grant.c.node_id == node_id) & (node_grant.c.device_id == device_id)

    async def replace(connection: Connection) -> None:
        row = await connection.one(_living_grants().where(is_this).with_for_update())
        if row is None:
            return
        account_id = row["account_id"]
        is_old = (device.c.account_id == account_id) & (device.c.device_id == device_id)
        new_id = await create_device(connection, account_id, "node", row["name"])
        await connection.run(node_grant.update().where(is_this).values(device_id=new_id))
        await connection.run(device.update().where(is_old).values(revoked_ms=clock.now_ms()))

    await database.transact(replace)


async def nodes_of(database: Database, account_id: bytes) -> Sequence[Row]:
    """Return id, device, name, level and when they were seen of the nodes that serve the account, by name."""
    return await database.all(
        _living_grants().where(node_grant.c.account_id == account_id).order_by(node.c.name, node.c.node_id)
    )


async def serves(database: Database, node_id: bytes, account_id: bytes) -> bool:
    """Say whether the node serves the account."""
    return any(row["node_id"] == node_id for row in await nodes_of(database, account_id))


async def note_seen(database: Database, node_id: bytes, departure: Departure | None) -> None:
    """Remember that the node was there just now, and how it has gone if it has."""
    seen = {"last_seen_ms": clock.now_ms(), "departure": departure}
    await database.run(node.update().where(node.c.node_id == node_id).values(**seen))


def _new_node(key: NodeKey, *, is_shared: bool) -> dict[str, object]:
    now_ms = clock.now_ms()
    return {
        "node_id": key.node_id,
        "name": key.name,
        "public_key": key.public_key,
        "key_id": thumbprint(key.public_key),
        "is_shared": is_shared,
        "created_ms": now_ms,
        "last_seen_ms": now_ms,
    }


def _is_grant(account_id: bytes, node_id: bytes) -> ColumnElement[bool]:
    return (node_grant.c.account_id == account_id) & (node_grant.c.node_id == node_id)


async def _grant(connection: Connection, account_id: bytes, node_id: bytes, name: str, level: Level) -> None:
    device_id = await create_device(connection, account_id, "node", name)
    values = {"account_id": account_id, "node_id": node_id, "device_id": device_id, "level": level}
    await connection.run(node_grant.insert().values(**values))


def _living_grants() -> Select[tuple[bytes, bytes, str, bytes, str, int, str]]:
    is_its_device = (device.c.account_id == node_grant.c.account_id) & (device.c.device_id == node_grant.c.device_id)
    return (
        select(
            node_grant.c.account_id,
            node_grant.c.device_id,
            node_grant.c.level,
            node.c.node_id,
            node.c.name,
            node.c.last_seen_ms,
            node.c.departure,
        )
        .join(node, node.c.node_id == node_grant.c.node_id)
        .join(device, is_its_device)
        .where(device.c.revoked_ms.is_(None))
    )
