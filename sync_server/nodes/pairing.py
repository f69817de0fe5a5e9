"""Pairing of nodes that share no folder with the server (rules P1-P6)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from msgspec.structs import replace
from sqlalchemy import ColumnElement, delete, select

from shared.errors import Code, DomovoiError
from shared.identifiers import node_id
from shared.jws import public_key_from
from shared.limits import (
    ENTITY_ID_BYTES,
    PAIRING_CODE_GROUPS,
    PAIRING_CODE_NAME_CHARACTERS,
    PAIRING_LIFETIME_S,
    PAIRING_NONCE_BYTES,
    PAIRING_TRIES,
)
from shared.pairing import Transcript, commitment, hashed_code, plain_code
from shared.pairing_wire import Pairing, PairingChallenge, PairingCode, PairingStage, PairingState
from sync_server import clock
from sync_server.accounts.names import checked_device_name
from sync_server.accounts.one_time_codes import new_code
from sync_server.accounts.throttle import Throttle
from sync_server.nodes.nodes import NodeKey, level_to_come, pair_node
from sync_server.store.database import Connection, Database, DuplicateKey, Row
from sync_server.store.tables import account, pairing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.pairing_wire import PairingOffer, PairingProof

GUESSES = {Code.PAIRING_CODE_WRONG, Code.PAIRING_PROOF_WRONG}


class _Answer(NamedTuple):
    """What a transaction has come to. A refusal is no exception there: its count of tries must be committed."""

    row: Row | None = None
    refusal: Code | None = None


class Pairings:
    """Codes, the nodes that come with them, and the decisions of those who asked for the codes."""

    def __init__(self, database: Database, root: bytes) -> None:
        self._database = database
        self._root = root
        self._throttle = Throttle()

    # For the account. That the caller has just proved the password is the endpoint's business.

    async def begin(self, account_id: bytes) -> PairingCode:
        """Make a code, which is told this once and replaces an earlier one of the account."""
        now_ms = clock.now_ms()
        pairing_id = secrets.token_bytes(ENTITY_ID_BYTES)
        while True:
            code = new_code(PAIRING_CODE_GROUPS)
            values = {
                "account_id": account_id,
                "pairing_id": pairing_id,
                "code_name": _name_of(code),
                "code_hash": hashed_code(code),
                "expires_ms": now_ms + PAIRING_LIFETIME_S * 1000,
                "tries": 0,
            }

            async def store(connection: Connection, values: dict[str, object] = values) -> None:
                is_open = (pairing.c.account_id == account_id) & pairing.c.decision.is_(None)
                await connection.run(delete(pairing).where(is_open))
                await connection.run(pairing.insert().values(**values))

            try:
                await self._database.transact(store)
            except DuplicateKey:
                # Another account's code has that name just now.
                continue
            return PairingCode(pairing_id.hex(), code, now_ms + PAIRING_LIFETIME_S * 1000, now_ms)

    async def look(self, account_id: bytes, pairing_id: bytes) -> Pairing:
        """Return how the pairing stands. Raises DomovoiError not_found."""

        async def look(connection: Connection) -> Pairing:
            return await self._described(connection, await _own(connection, account_id, pairing_id))

        return await self._database.read(look)

    async def confirm(self, account_id: bytes, pairing_id: bytes, check: str) -> Pairing:
        """Pair the node that waits with these six digits. Raises DomovoiError not_found, pairing_check_wrong."""

        async def confirm(connection: Connection) -> Pairing:
            row = await _own(connection, account_id, pairing_id, is_locked=True)
            is_waiting = _stage(row) == "pending" and row["expires_ms"] > clock.now_ms()
            if not is_waiting or self._transcript(row).check() != check:
                raise DomovoiError(Code.PAIRING_CHECK_WRONG)
            described = await self._described(connection, row)
            key = NodeKey(node_id(row["public_key"]), row["name"], row["public_key"])
            await pair_node(connection, account_id, key)
            await connection.run(pairing.update().where(_is(account_id, pairing_id)).values(decision="paired"))
            return replace(described, stage="paired")

        return await self._database.transact(confirm)

    async def refuse(self, account_id: bytes, pairing_id: bytes) -> None:
        """Take a code back, or refuse the node that has come with it. Raises DomovoiError not_found."""

        async def refuse(connection: Connection) -> None:
            row = await _own(connection, account_id, pairing_id, is_locked=True)
            if row["decision"] is None:
                is_it = _is(account_id, pairing_id)
                await connection.run(pairing.update().where(is_it).values(decision="refused"))

        await self._database.transact(refuse)

    # For the node.

    async def offer(self, offer: PairingOffer, address: str) -> PairingChallenge:
        """Bind the code to a node, and return the nonce that it must sign.

        Raises DomovoiError bad_request, pairing_code_wrong, pairing_code_expired, pairing_code_spent,
        pairing_code_used, too_many_tries.
        """
        said = {
            "name": checked_device_name(offer.name),
            "public_key": offer.public_key,
            "sealing_key": offer.sealing_key,
            "commitment": offer.commitment,
        }
        _check_keys(offer)

        async def bind(connection: Connection) -> _Answer:
            found = await _found(connection, offer.code)
            if found.row is None:
                return found
            row = found.row
            if row["decision"] is not None or row["public_key"] is not None:
                is_same = row["decision"] is None and all(row[name] == value for name, value in said.items())
                return _Answer(row) if is_same else _Answer(refusal=Code.PAIRING_CODE_USED)
            more = {
                "server_nonce": secrets.token_bytes(PAIRING_NONCE_BYTES),
                "expires_ms": clock.now_ms() + PAIRING_LIFETIME_S * 1000,
            }
            is_it = _is(row["account_id"], row["pairing_id"])
            await connection.run(pairing.update().where(is_it).values(**said, **more))
            return _Answer(await connection.one(select(pairing).where(is_it)))

        row = await self._answered(bind, address)
        return PairingChallenge(row["server_nonce"], row["expires_ms"], clock.now_ms())

    async def prove(self, proof: PairingProof, address: str) -> PairingState:
        """Take the node's proof, and say how things stand; repeated, it only says so.

        Raises DomovoiError pairing_code_wrong, pairing_code_expired, pairing_code_spent, pairing_proof_wrong,
        too_many_tries.
        """

        async def check(connection: Connection) -> _Answer:
            found = await _found(connection, proof.code)
            if found.row is None:
                return found
            row = {**found.row, "node_nonce": proof.nonce}
            is_it = _is(row["account_id"], row["pairing_id"])
            if row["commitment"] != commitment(proof.nonce) or not self._transcript(row).is_signed(proof.signature):
                await connection.run(pairing.update().where(is_it).values(tries=row["tries"] + 1))
                return _Answer(refusal=Code.PAIRING_PROOF_WRONG)
            if found.row["node_nonce"] is None:
                await connection.run(pairing.update().where(is_it).values(node_nonce=proof.nonce))
            return _Answer(row)

        row = await self._answered(check, address)
        stage = _stage(row)
        owner = select(account.c.username).where(account.c.account_id == row["account_id"])
        found = await self._database.one(owner) if stage == "paired" else None
        return PairingState(stage, None if found is None else found["username"])

    async def _answered(self, work: Callable[[Connection], Awaitable[_Answer]], address: str) -> Row:
        """Return the row that the work has found. Raises DomovoiError; what is a guess slows down the next one."""
        self._throttle.check(address)
        answer = await self._database.transact(work)
        if answer.row is None:
            refusal = answer.refusal or Code.PAIRING_CODE_WRONG
            if refusal in GUESSES:
                self._throttle.failed(address)
            raise DomovoiError(refusal)
        return answer.row

    async def _described(self, connection: Connection, row: Row) -> Pairing:
        pairing_id, stage, now_ms = row["pairing_id"].hex(), _stage(row), clock.now_ms()
        if row["node_nonce"] is None:
            return Pairing(pairing_id, stage, row["expires_ms"], now_ms)
        node = node_id(row["public_key"])
        level = await level_to_come(connection, row["account_id"], node)
        check = self._transcript(row).check()
        return Pairing(pairing_id, stage, row["expires_ms"], now_ms, node.hex(), row["name"], check, level)

    def _transcript(self, row: Row) -> Transcript:
        names = ("code_hash", "public_key", "sealing_key", "name", "server_nonce", "node_nonce")
        return Transcript(self._root, *(row[name] for name in names))


async def forget_old_pairings(database: Database, account_id: bytes) -> None:
    """Drop the account's pairings that are over."""
    is_over = pairing.c.expires_ms <= clock.now_ms()
    await database.run(delete(pairing).where((pairing.c.account_id == account_id) & is_over))


def _name_of(code: str) -> str:
    return plain_code(code)[:PAIRING_CODE_NAME_CHARACTERS]


def _is(account_id: bytes, pairing_id: bytes) -> ColumnElement[bool]:
    return (pairing.c.account_id == account_id) & (pairing.c.pairing_id == pairing_id)


async def _own(connection: Connection, account_id: bytes, pairing_id: bytes, *, is_locked: bool = False) -> Row:
    statement = select(pairing).where(_is(account_id, pairing_id))
    row = await connection.one(statement.with_for_update() if is_locked else statement)
    if row is None:
        raise DomovoiError(Code.NOT_FOUND, "This pairing code was replaced by another one.")
    return row


async def _found(connection: Connection, code: str) -> _Answer:
    """Return the pairing of this code if it is good. A wrong secret counts as long as no node has the code."""
    row = await connection.one(select(pairing).where(pairing.c.code_name == _name_of(code)).with_for_update())
    if row is None:
        return _Answer(refusal=Code.PAIRING_CODE_WRONG)
    if row["tries"] >= PAIRING_TRIES:
        return _Answer(refusal=Code.PAIRING_CODE_SPENT)
    if not secrets.compare_digest(row["code_hash"], hashed_code(code)):
        if row["public_key"] is None:
            is_it = _is(row["account_id"], row["pairing_id"])
            await connection.run(pairing.update().where(is_it).values(tries=row["tries"] + 1))
        return _Answer(refusal=Code.PAIRING_CODE_WRONG)
    if row["expires_ms"] <= clock.now_ms():
        return _Answer(refusal=Code.PAIRING_CODE_EXPIRED)
    return _Answer(row)


def _stage(row: Row) -> PairingStage:
    decision: PairingStage | None = row["decision"]
    return decision or ("waiting" if row["node_nonce"] is None else "pending")


def _check_keys(offer: PairingOffer) -> None:
    """Raise DomovoiError bad_request for keys that anybody could have."""
    try:
        public_key_from(offer.public_key)
        if offer.sealing_key is not None:
            # Refuses points of low order: what came of them would be no secret.
            X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(offer.sealing_key))
    except ValueError as error:
        raise DomovoiError(Code.BAD_REQUEST, "A key of the PC is none, or a weak one.") from error
