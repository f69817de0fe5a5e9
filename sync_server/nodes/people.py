"""Who uses a PC and who manages it (rule P7): handing it over, taking it when nobody has it, ending another's use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Select, select

from shared.errors import Code, DomovoiError
from shared.people_wire import NodePerson
from sync_server.nodes.nodes import unpair_node
from sync_server.store.tables import account, device, node_grant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_server.store.database import Connection, Database, Row


async def people_of(database: Database, account_id: bytes, node_id: bytes) -> list[NodePerson]:
    """Return the accounts that the node serves, as far as the caller may know. Raises DomovoiError node_unknown."""
    rows = await database.all(_people(node_id))
    own = _own(rows, account_id)
    if own["level"] == "manage":
        return [_person(row, row["account_id"].hex(), is_you=row is own) for row in rows]
    known = (row for row in rows if row is own or row["level"] == "manage")
    return [_person(row, account_id.hex() if row is own else None, is_you=row is own) for row in known]


async def change_manager(database: Database, account_id: bytes, node_id: bytes, successor: bytes) -> None:
    """Make the successor manage the node, who uses it already; the caller uses it from then on.

    Who does not manage it can only make itself the manager, and only while nobody is. Raises DomovoiError node_unknown,
    manager_only, not_found for a successor that does not use the node.
    """

    async def change(connection: Connection) -> None:
        rows = await connection.all(_people(node_id).with_for_update())
        own = _own(rows, account_id)
        is_vacant = all(row["level"] != "manage" for row in rows)
        if own["level"] != "manage" and not (is_vacant and successor == account_id):
            raise DomovoiError(Code.MANAGER_ONLY)
        if successor not in {row["account_id"] for row in rows}:
            raise DomovoiError(Code.NOT_FOUND, "This PC does not serve that account.")
        is_here = node_grant.c.node_id == node_id
        await connection.run(node_grant.update().where(is_here).values(level="use"))
        is_it = is_here & (node_grant.c.account_id == successor)
        await connection.run(node_grant.update().where(is_it).values(level="manage"))

    await database.transact(change)


async def end_use(database: Database, account_id: bytes, node_id: bytes, other: bytes) -> None:
    """Unpair another account from the node that the caller manages.

    Raises DomovoiError node_unknown, manager_only, not_found.
    """
    rows = await database.all(_people(node_id))
    if _own(rows, account_id)["level"] != "manage":
        raise DomovoiError(Code.MANAGER_ONLY)
    if other == account_id or other not in {row["account_id"] for row in rows}:
        raise DomovoiError(Code.NOT_FOUND, "This PC serves no such other account.")
    await unpair_node(database, other, node_id)


def _person(row: Row, account_id: str | None, *, is_you: bool) -> NodePerson:
    return NodePerson(row["username"], row["level"], is_you, account_id)


def _own(rows: Sequence[Row], account_id: bytes) -> Row:
    row = next((row for row in rows if row["account_id"] == account_id), None)
    if row is None:
        raise DomovoiError(Code.NODE_UNKNOWN)
    return row


def _people(node_id: bytes) -> Select[tuple[bytes, str, str]]:
    is_its_device = (device.c.account_id == node_grant.c.account_id) & (device.c.device_id == node_grant.c.device_id)
    return (
        select(node_grant.c.account_id, account.c.username, node_grant.c.level)
        .join(account, account.c.account_id == node_grant.c.account_id)
        .join(device, is_its_device)
        .where(node_grant.c.node_id == node_id, device.c.revoked_ms.is_(None))
        .order_by(account.c.username_folded)
    )
