"""Devices of an account: browser profiles, and nodes in their place in the account."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Literal

from sqlalchemy import ColumnElement, func, select

from shared.canonical import FIRST_HASH
from shared.errors import Code, DomovoiError
from shared.limits import DEVICE_ID_BYTES, MAX_ADDRESS_CHARACTERS
from shared.wire import Device
from sync_server import clock
from sync_server.accounts.revocations import revoke_tokens
from sync_server.store.tables import device

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database, Row

Kind = Literal["app", "node"]

SEEN_EVERY_MS = 60_000


async def create_device(connection: Connection, account_id: bytes, kind: Kind, name: str) -> bytes:
    """Add a device with an empty log and return its id."""
    device_id = secrets.token_bytes(DEVICE_ID_BYTES)
    now_ms = clock.now_ms()
    await connection.run(
        device.insert().values(
            account_id=account_id,
            device_id=device_id,
            kind=kind,
            name=name,
            last_dseq=0,
            last_hash=FIRST_HASH,
            created_ms=now_ms,
            last_seen_ms=now_ms,
        )
    )
    return device_id


async def find_device(database: Database | Connection, account_id: bytes, device_id: bytes) -> Row | None:
    """Return the device's row, revoked or not."""
    return await database.one(select(device).where(_is(account_id, device_id)))


async def check_device(database: Database, account_id: bytes, device_id: bytes, address: str) -> None:
    """Note that the device was seen, and where. Raises DomovoiError device_revoked when it may no longer call."""
    row = await find_device(database, account_id, device_id)
    if row is None or row["revoked_ms"] is not None:
        raise DomovoiError(Code.DEVICE_REVOKED)
    now_ms = clock.now_ms()
    if now_ms - row["last_seen_ms"] > SEEN_EVERY_MS:
        seen = {"last_seen_ms": now_ms, "address": address[:MAX_ADDRESS_CHARACTERS]}
        await database.run(device.update().where(_is(account_id, device_id)).values(**seen))


async def note_login(connection: Connection, account_id: bytes, device_id: bytes, address: str) -> None:
    """Remember that somebody has just logged in with the password, and from where."""
    now_ms, address = clock.now_ms(), address[:MAX_ADDRESS_CHARACTERS]
    values = {"login_ms": now_ms, "login_address": address, "last_seen_ms": now_ms, "address": address}
    await connection.run(device.update().where(_is(account_id, device_id)).values(**values))


async def newest_login(database: Database, account_id: bytes) -> int:
    """Return when one of the account's devices has last logged in, in milliseconds since 1970."""
    is_living = (device.c.account_id == account_id) & device.c.revoked_ms.is_(None)
    row = await database.one(select(func.max(device.c.login_ms).label("login_ms")).where(is_living))
    return 0 if row is None or row["login_ms"] is None else int(row["login_ms"])


async def key_thumbprint(database: Database, account_id: bytes, device_id: bytes) -> bytes | None:
    """Return the thumbprint of the key that the device made at its login, None where it can't make one."""
    row = await find_device(database, account_id, device_id)
    return None if row is None else row["key_thumbprint"]


async def keep_key(connection: Connection, account_id: bytes, device_id: bytes, thumbprint: bytes | None) -> None:
    """Replace the device's key by the one of this login."""
    await connection.run(device.update().where(_is(account_id, device_id)).values(key_thumbprint=thumbprint))


async def list_devices(database: Database, account_id: bytes, current: bytes) -> list[Device]:
    """Return the devices that are not revoked, oldest first."""
    rows = await database.all(
        select(device)
        .where(device.c.account_id == account_id, device.c.revoked_ms.is_(None))
        .order_by(device.c.created_ms, device.c.device_id)
    )
    return [_as_device(row, current) for row in rows]


async def rename_device(database: Database, account_id: bytes, device_id: bytes, name: str, current: bytes) -> Device:
    """Return the renamed device. Raises DomovoiError not_found."""

    async def rename(connection: Connection) -> Device:
        await connection.run(device.update().where(_is(account_id, device_id)).values(name=name))
        return _as_device(await _living(connection, account_id, device_id), current)

    return await database.transact(rename)


async def revoke_device(database: Database, account_id: bytes, device_id: bytes) -> Kind:
    """End the device's access and return its kind. Raises DomovoiError not_found."""

    async def revoke(connection: Connection) -> Kind:
        row = await _living(connection, account_id, device_id)
        await end_device(connection, account_id, device_id)
        return "node" if row["kind"] == "node" else "app"

    return await database.transact(revoke)


async def revoke_other_browsers(connection: Connection, account_id: bytes, kept: bytes) -> list[bytes]:
    """End the access of every browser of the account but one, and return their ids."""
    is_other = (device.c.account_id == account_id) & (device.c.device_id != kept)
    is_browser = (device.c.kind == "app") & device.c.revoked_ms.is_(None)
    rows = await connection.all(select(device.c.device_id).where(is_other, is_browser).with_for_update())
    for row in rows:
        await end_device(connection, account_id, row["device_id"])
    return [row["device_id"] for row in rows]


async def end_device(connection: Connection, account_id: bytes, device_id: bytes) -> None:
    """End the device's access, and its tokens wherever they are looked at."""
    await connection.run(device.update().where(_is(account_id, device_id)).values(revoked_ms=clock.now_ms()))
    await revoke_tokens(connection, account_id, device_id)


async def _living(connection: Connection, account_id: bytes, device_id: bytes) -> Row:
    row = await connection.one(select(device).where(_is(account_id, device_id)).with_for_update())
    if row is None or row["revoked_ms"] is not None:
        raise DomovoiError(Code.NOT_FOUND, "This account has no such device.")
    return row


def _is(account_id: bytes, device_id: bytes) -> ColumnElement[bool]:
    return (device.c.account_id == account_id) & (device.c.device_id == device_id)


def _as_device(row: Row, current: bytes) -> Device:
    return Device(
        device_id=row["device_id"].hex(),
        name=row["name"],
        kind=row["kind"],
        created_ms=row["created_ms"],
        last_seen_ms=row["last_seen_ms"],
        current=row["device_id"] == current,
        login_ms=row["login_ms"],
        login_address=row["login_address"],
        address=row["address"],
    )
