"""Accounts: making one, and logging in to it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from shared.device_keys import thumbprint
from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex, uuid7
from shared.limits import DEFAULT_QUOTA_BYTES, DEVICE_ID_BYTES
from sync_server import clock
from sync_server.accounts import invitations
from sync_server.accounts.devices import create_device, find_device, keep_key, note_login, revoke_other_browsers
from sync_server.accounts.names import checked_device_name, checked_username, folded
from sync_server.accounts.passwords import Passwords, check_strength
from sync_server.accounts.setup_code import SetupCode, is_claimed
from sync_server.accounts.throttle import Throttle
from sync_server.log.histories import new_epoch
from sync_server.nodes.nodes import grant_shared_nodes
from sync_server.store.database import Connection, Database, DuplicateKey, Row
from sync_server.store.tables import account

if TYPE_CHECKING:
    from shared.device_keys import DeviceKey
    from shared.wire import Login, PasswordChange, Registration
    from sync_server.accounts.caller import Caller
    from sync_server.accounts.refresh import RefreshTokens


class SignedIn(NamedTuple):
    """A device that has just proved whose it is. `refresh_token` goes into its cookie."""

    account_id: bytes
    device_id: bytes
    username: str
    is_owner: bool
    refresh_token: str


class _NewLogin:
    """What a browser says of itself. Raises DomovoiError bad_request."""

    def __init__(self, name: str, earlier: str | None, key: DeviceKey | None, address: str) -> None:
        self.name = checked_device_name(name)
        self.earlier = earlier
        self.address = address
        try:
            self.key_thumbprint = None if key is None else thumbprint(key)
        except ValueError as error:
            raise DomovoiError(Code.BAD_REQUEST, f"device_key is not one: {error}.") from error


class Accounts:
    """Registration and login."""

    def __init__(
        self, database: Database, passwords: Passwords, setup_code: SetupCode, refresh_tokens: RefreshTokens
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._setup_code = setup_code
        self._refresh_tokens = refresh_tokens
        self._throttle = Throttle()

    async def register(self, registration: Registration, address: str) -> SignedIn:
        """Make an account and its first device.

        Raises DomovoiError setup_code_wrong, invitation_wrong, username_invalid, username_taken,
        password_too_short, password_too_long, password_too_common, too_many_tries.
        """
        throttled = ("register", address)
        self._throttle.check(throttled)
        try:
            signed_in = await self._register(registration, address)
        except DomovoiError as error:
            if error.code in {Code.SETUP_CODE_WRONG, Code.INVITATION_WRONG}:
                self._throttle.failed(throttled)
            raise
        self._throttle.succeeded(throttled)
        return signed_in

    async def _register(self, registration: Registration, address: str) -> SignedIn:
        is_first = not await is_claimed(self._database)
        if is_first:
            self._setup_code.check(registration.setup_code)
        username = checked_username(registration.username)
        device = _NewLogin(registration.device_name, None, registration.device_key, address)
        check_strength(registration.password, username)
        password_hash = await self._passwords.hash(registration.password)

        async def create(connection: Connection) -> SignedIn:
            if is_first:
                await self._setup_code.claim(connection)
            else:
                await invitations.use(connection, registration.invitation)
            account_id = await _create_account(connection, username, password_hash, is_owner=is_first)
            await grant_shared_nodes(connection, account_id, "manage" if is_first else "use")
            return await self._sign_in(connection, account_id, device)

        signed_in = await self._database.transact(create)
        if is_first:
            self._setup_code.remove()
        return signed_in

    async def login(self, login: Login, address: str) -> SignedIn:
        """Log in, as the device named if it is one of the account's own that is not revoked, else as a new one.

        Raises DomovoiError login_wrong for an unknown name and for a wrong password, after the same time;
        too_many_tries.
        """
        device = _NewLogin(login.device_name, login.device_id, login.device_key, address)
        throttled = (folded(login.username), address)
        self._throttle.check(throttled)
        row = await self._database.one(select(account).where(account.c.username_folded == folded(login.username)))
        if not await self._is_password(row, login.password) or row is None:
            self._throttle.failed(throttled)
            raise DomovoiError(Code.LOGIN_WRONG)
        self._throttle.succeeded(throttled)
        account_id = row["account_id"]
        return await self._database.transact(lambda connection: self._sign_in(connection, account_id, device))

    async def change_password(self, caller: Caller, change: PasswordChange, address: str) -> list[bytes]:
        """Replace the password and end every other browser's access; return which those were.

        Raises DomovoiError login_wrong, too_many_tries, password_too_short, password_too_long, password_too_common.
        """
        row = await self.check_password(caller, change.password, address)
        check_strength(change.new_password, row["username"])
        password_hash = await self._passwords.hash(change.new_password)

        async def replace(connection: Connection) -> list[bytes]:
            is_it = account.c.account_id == caller.account_id
            await connection.run(account.update().where(is_it).values(password_hash=password_hash))
            return await revoke_other_browsers(connection, caller.account_id, caller.device_id)

        return await self._database.transact(replace)

    async def check_password(self, caller: Caller, password: str, address: str) -> Row:
        """Return the caller's account after a fresh proof of its password.

        Raises DomovoiError login_wrong, too_many_tries.
        """
        throttled = (f"password of {caller.account_id.hex()}", address)
        self._throttle.check(throttled)
        row = await self._database.one(select(account).where(account.c.account_id == caller.account_id))
        if row is None or not await self._is_password(row, password):
            self._throttle.failed(throttled)
            raise DomovoiError(Code.LOGIN_WRONG, "The password you have now is another one.")
        self._throttle.succeeded(throttled)
        return row

    async def renew(self, refresh_token: str) -> SignedIn:
        """Log in with a refresh token. Raises DomovoiError login_ended, device_revoked."""
        renewed = await self._refresh_tokens.renew(refresh_token)
        row = await self._database.one(select(account).where(account.c.account_id == renewed.account_id))
        device = await find_device(self._database, renewed.account_id, renewed.device_id)
        if row is None or device is None or device["revoked_ms"] is not None:
            raise DomovoiError(Code.DEVICE_REVOKED)
        return SignedIn(renewed.account_id, renewed.device_id, row["username"], row["is_owner"], renewed.token)

    async def _is_password(self, row: Row | None, password: str) -> bool:
        if row is None:
            await self._passwords.hash(password)
            return False
        return await self._passwords.verify(row["password_hash"], password)

    async def _sign_in(self, connection: Connection, account_id: bytes, device: _NewLogin) -> SignedIn:
        [row] = await connection.all(select(account).where(account.c.account_id == account_id))
        device_id = await _kept_device(connection, account_id, device.earlier)
        if device_id is None:
            device_id = await create_device(connection, account_id, "app", device.name)
        await keep_key(connection, account_id, device_id, device.key_thumbprint)
        await note_login(connection, account_id, device_id, device.address)
        token = await self._refresh_tokens.begin(connection, account_id, device_id)
        return SignedIn(account_id, device_id, row["username"], row["is_owner"], token)


async def _create_account(connection: Connection, username: str, password_hash: str, *, is_owner: bool) -> bytes:
    now_ms = clock.now_ms()
    account_id = uuid7(now_ms, secrets.token_bytes(10))
    values = {
        "account_id": account_id,
        "username": username,
        "username_folded": folded(username),
        "password_hash": password_hash,
        "is_owner": is_owner,
        "head": 0,
        "floor": 0,
        "epoch": new_epoch(),
        "bytes_used": 0,
        "quota_bytes": DEFAULT_QUOTA_BYTES,
        "created_ms": now_ms,
    }
    try:
        await connection.run(account.insert().values(**values))
    except DuplicateKey as error:
        raise DomovoiError(Code.USERNAME_TAKEN) from error
    return account_id


async def _kept_device(connection: Connection, account_id: bytes, earlier: str | None) -> bytes | None:
    """Return the id that the browser had, if it may have it again."""
    if earlier is None:
        return None
    try:
        device_id = from_hex(earlier, DEVICE_ID_BYTES)
    except ValueError as error:
        raise DomovoiError(Code.BAD_REQUEST, "device_id is 16 lower-case hex digits.") from error
    row = await find_device(connection, account_id, device_id)
    is_ours = row is not None and row["kind"] == "app" and row["revoked_ms"] is None
    return device_id if is_ours else None
