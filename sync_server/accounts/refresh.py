"""Refresh tokens: opaque, single use, stored hashed, in families that a reuse ends.

A token is `<account id in hex>.<256 random bits>`, so that its row is found within the account's own data. The next
one is HMAC(server key, token): a browser that lost the answer asks again within ten seconds and gets the same one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, Insert, delete, select

from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex
from shared.jws import base64url, from_base64url
from shared.limits import ACCOUNT_ID_BYTES, REFRESH_ABSOLUTE_S, REFRESH_IDLE_S, REFRESH_RETRY_S
from sync_server import clock
from sync_server.store.tables import refresh_token

if TYPE_CHECKING:
    from sync_server.store.database import Connection, Database, Row

SECRET_BYTES = 32
FAMILY_BYTES = 16


class Renewed(NamedTuple):
    """Whose login was renewed, and the token for next time."""

    account_id: bytes
    device_id: bytes
    token: str


class _Presented(NamedTuple):
    account_id: bytes
    secret: bytes

    @property
    def row(self) -> ColumnElement[bool]:
        token_hash = hashlib.sha256(self.secret).digest()
        return (refresh_token.c.account_id == self.account_id) & (refresh_token.c.token_hash == token_hash)


class RefreshTokens:
    """Begins, renews and ends logins. `key` is the server's own secret, 32 bytes."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key

    async def begin(self, connection: Connection, account_id: bytes, device_id: bytes) -> str:
        """Start a family in the transaction of a login, ending the device's earlier ones; return its first token."""
        now_ms = clock.now_ms()
        ours = refresh_token.c.account_id == account_id
        is_over = refresh_token.c.login_ms < now_ms - REFRESH_ABSOLUTE_S * 1000
        await connection.run(delete(refresh_token).where(ours, (refresh_token.c.device_id == device_id) | is_over))
        secret = secrets.token_bytes(SECRET_BYTES)
        family = secrets.token_bytes(FAMILY_BYTES)
        await connection.run(_insert(account_id, device_id, secret, family, now_ms, now_ms))
        return _text(account_id, secret)

    async def renew(self, token: str) -> Renewed:
        """Return the successor of a token. Raises DomovoiError login_ended; a late reuse ends the whole family."""
        presented = _parse(token)
        renewed = await self._database.transact(lambda connection: self._renew(connection, presented))
        if renewed is None:
            raise DomovoiError(Code.LOGIN_ENDED)
        return renewed

    async def end(self, token: str) -> None:
        """End the token's family. An unknown token ends nothing."""
        presented = _parse(token)

        async def end(connection: Connection) -> None:
            row = await connection.one(select(refresh_token).where(presented.row))
            if row is not None:
                await _end_family(connection, row)

        await self._database.transact(end)

    async def _renew(self, connection: Connection, presented: _Presented) -> Renewed | None:
        row = await connection.one(select(refresh_token).where(presented.row).with_for_update())
        now_ms = clock.now_ms()
        if row is None or _is_over(row, now_ms):
            return None
        secret = hmac.digest(self._key, presented.secret, "sha256")
        renewed = Renewed(presented.account_id, row["device_id"], _text(presented.account_id, secret))
        if row["used_ms"] is None:
            await connection.run(refresh_token.update().where(presented.row).values(used_ms=now_ms))
            await connection.run(
                _insert(presented.account_id, row["device_id"], secret, row["family"], row["login_ms"], now_ms)
            )
        elif now_ms - row["used_ms"] > REFRESH_RETRY_S * 1000:
            await _end_family(connection, row)
            return None
        return renewed


def _is_over(row: Row, now_ms: int) -> bool:
    idle, absolute = now_ms - row["issued_ms"], now_ms - row["login_ms"]
    return bool(idle > REFRESH_IDLE_S * 1000 or absolute > REFRESH_ABSOLUTE_S * 1000)


async def _end_family(connection: Connection, row: Row) -> None:
    columns = refresh_token.c
    await connection.run(
        delete(refresh_token).where(columns.account_id == row["account_id"], columns.family == row["family"])
    )


def _insert(account_id: bytes, device_id: bytes, secret: bytes, family: bytes, login_ms: int, now_ms: int) -> Insert:
    return refresh_token.insert().values(
        account_id=account_id,
        token_hash=hashlib.sha256(secret).digest(),
        device_id=device_id,
        family=family,
        login_ms=login_ms,
        issued_ms=now_ms,
    )


def _text(account_id: bytes, secret: bytes) -> str:
    return f"{account_id.hex()}.{base64url(secret)}"


def _parse(token: str) -> _Presented:
    account_id, _, secret = token.partition(".")
    try:
        return _Presented(from_hex(account_id, ACCOUNT_ID_BYTES), from_base64url(secret))
    except ValueError as error:
        raise DomovoiError(Code.LOGIN_ENDED) from error
