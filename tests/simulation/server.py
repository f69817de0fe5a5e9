"""The server in a simulated world: its real functions and database, behind a network that can't be trusted."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from inference_node.server.server_api import Unreachable
from shared.errors import Code, DomovoiError
from shared.limits import BLOB_RESTORED_KEPT_S
from shared.wire import BlobState, Bootstrapped, Digest, Lease, LeaseRequest, Pulled, Push, Pushed
from sync_server import clock
from sync_server.accounts.devices import check_device, create_device, find_device
from sync_server.blobs.blobs import Blobs, named_files
from sync_server.log import histories
from sync_server.log.bootstrap import bootstrap
from sync_server.log.digests import digest_of
from sync_server.log.leases import lease_answer
from sync_server.log.pull import pull
from sync_server.log.purges import acknowledge, expire_tombstones
from sync_server.log.push import push
from sync_server.nodes.nodes import NodeKey, add_shared_node, grants_of, replace_device
from sync_server.store.tables import account
from tests.simulation.files import File, SimulatedFiles, named_file, pieces
from tests.simulation.stores import Crashed, ServerStore, pause

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

_T = TypeVar("_T")
ACCOUNT = b"\x0a" * 16
# Small pages, so that there are many, with others' writes between them.
PAGE = 7


class SimulatedServer:
    """One account's server. `seals` is what an omniscient observer saw: by answer, the leases it was written under."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.store = ServerStore()
        self.files = SimulatedFiles(folder, rng, self.store.fuse)
        self.blobs = Blobs(self.store, self.files)
        # Attachments that were acknowledged while their files were whole.
        self.kept: set[bytes] = set()
        self.logins = 0
        self.seals: dict[bytes, set[bytes]] = {}
        self._backup: sqlite3.Connection | None = None
        # Before the first time, nothing has lost its name.
        self._restored_ms = clock.now_ms()

    async def begin(self, nodes: list[NodeKey]) -> None:
        """Make the account and the nodes that serve it."""

        async def work(connection: Any) -> None:
            values = {
                "account_id": ACCOUNT,
                "username": "family",
                "username_folded": b"family",
                "password_hash": "",
                "is_owner": True,
                "head": 0,
                "floor": 0,
                "epoch": histories.new_epoch(),
                "bytes_used": 0,
                "quota_bytes": 2**40,
                "created_ms": clock.now_ms(),
            }
            await connection.run(account.insert().values(**values))
            for node in nodes:
                await add_shared_node(connection, node)

        await self.store.transact(work)

    # What happens to it.

    def back_up(self) -> None:
        """Make a backup."""
        self._backup = self.store.copy()

    async def restore(self) -> bool:
        """Put the backup back as the operator does, if there is one."""
        if self._backup is None:
            return False
        # The server stands still for it, and an operator whose command was cut short gives it again.
        self.store.fuse.clear()
        self.store.restore(self._backup)
        await histories.begin_histories(self.store)
        self.logins += 1
        self._restored_ms = clock.now_ms()
        return True

    async def give_room(self, quota_bytes: int) -> None:
        """Let the account have so much."""
        await self.store.transact(lambda c: c.run(account.update().values(quota_bytes=quota_bytes)))

    async def keep_house(self) -> None:
        """Do what the server does every hour. A file whose name no device brought back for 90 days may go (B6)."""
        await expire_tombstones(self.store, ACCOUNT)
        named = await self.store.transact(lambda connection: named_files(connection, ACCOUNT))
        try:
            await self.blobs.collect(ACCOUNT)
        finally:
            if clock.now_ms() - self._restored_ms > BLOB_RESTORED_KEPT_S * 1000:
                self.kept -= {sha256 for sha256 in self.kept - named if not self.files.whole(ACCOUNT, sha256)}

    # What it is asked.

    async def log_in(self, device_id: bytes | None) -> tuple[bytes, str, int]:
        """Return the device id, a token and the time, for an app that was this device."""
        row = await find_device(self.store, ACCOUNT, device_id) if device_id else None
        if device_id is None or row is None or row["revoked_ms"] is not None:
            device_id = await self.store.transact(lambda connection: create_device(connection, ACCOUNT, "app", "app"))
        return device_id, self._token(device_id), clock.now_ms()

    async def log_in_node(self, node_id: bytes, forked: tuple[bytes, ...]) -> tuple[bytes, str, int]:
        """The same for a node."""
        for device_id in forked:
            await replace_device(self.store, node_id, device_id)
        [grant] = await grants_of(self.store, node_id)
        return grant.device_id, self._token(grant.device_id), clock.now_ms()

    async def push(self, token: str, batch: Push) -> Pushed:
        device_id = self._device(token)
        last_dseq = self.store.last_dseq(device_id)
        outcome = await push(self.store, ACCOUNT, device_id, batch)
        if outcome.pushed.acked_dseq > last_dseq and batch.if_lease is not None:
            self.seals.setdefault(batch.if_lease.answer, set()).add(batch.if_lease.token)
        for change in batch.changes[: outcome.pushed.acked_dseq - batch.first_dseq + 1]:
            sha256 = named_file(change)
            if sha256 is not None and self.files.whole(ACCOUNT, sha256):
                self.kept.add(sha256)
        return outcome.pushed

    async def pull(self, token: str, since: int, epoch: int | None) -> Pulled:
        device_id = self._device(token)
        await check_device(self.store, ACCOUNT, device_id, "")
        pulled = await pull(self.store, ACCOUNT, since, PAGE, epoch)
        if since:
            await acknowledge(self.store, ACCOUNT, device_id, since)
        return pulled

    async def bootstrap(self, token: str, after: str | None, scope: bytes | None) -> Bootstrapped:
        await check_device(self.store, ACCOUNT, self._device(token), "")
        return await bootstrap(self.store, ACCOUNT, after, PAGE, scope)

    async def digest(self, token: str) -> Digest:
        await check_device(self.store, ACCOUNT, self._device(token), "")
        return await digest_of(self.store, ACCOUNT)

    async def lease(self, token: str, wish: LeaseRequest) -> Lease:
        return await lease_answer(self.store, ACCOUNT, self._device(token), wish)

    async def put_blob(self, token: str, file: File, offset: int, pieces: AsyncIterator[bytes]) -> BlobState:
        await check_device(self.store, ACCOUNT, self._device(token), "")
        return await self.blobs.put(ACCOUNT, file.sha256, offset, len(file.content), pieces)

    def _token(self, device_id: bytes) -> str:
        return f"{self.logins}:{device_id.hex()}"

    def _device(self, token: str) -> bytes:
        login, _, device_id = token.partition(":")
        if login != str(self.logins):
            raise DomovoiError(Code.TOKEN_INVALID)
        return bytes.fromhex(device_id)


class Network:
    """One device's way to the server: it drops, delays, doubles and reorders, and at times there is none."""

    def __init__(self, server: SimulatedServer, rng: random.Random, loss: float) -> None:
        self.server = server
        self._rng = rng
        self.loss = loss
        self.is_cut = False
        self.slowest_s = 3.0
        self._background: set[asyncio.Task[None]] = set()

    async def call(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Return the server's answer. Raises what it raises, and Unreachable."""
        await pause(self._rng, self.slowest_s)
        if self.is_cut or self._rng.random() < self.loss:
            raise Unreachable("the request was lost")
        if self._rng.random() < self.loss:
            again = asyncio.ensure_future(self._again(work))
            self._background.add(again)
            again.add_done_callback(self._background.discard)
        try:
            result = await work()
        except Crashed as error:
            raise Unreachable("the server crashed") from error
        await pause(self._rng, self.slowest_s)
        if self.is_cut or self._rng.random() < self.loss:
            raise Unreachable("the answer was lost")
        return result

    async def _again(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Deliver the request a second time, much later perhaps."""
        await pause(self._rng, 20.0)
        with contextlib.suppress(DomovoiError, Crashed):
            await work()

    # The server as Exchange sees it.

    async def push(self, token: str, batch: Push) -> Pushed:
        sent = msgspec.msgpack.encode(batch)
        return await self.call(lambda: self.server.push(token, msgspec.msgpack.decode(sent, type=Push)))

    async def pull(self, token: str, since: int, epoch: int | None) -> Pulled:
        return await self.call(lambda: self.server.pull(token, since, epoch))

    async def bootstrap(self, token: str, after: str | None, scope: bytes | None = None) -> Bootstrapped:
        return await self.call(lambda: self.server.bootstrap(token, after, scope))

    async def digest(self, token: str) -> Digest:
        return await self.call(lambda: self.server.digest(token))

    async def lease(self, token: str, wish: LeaseRequest) -> Lease:
        return await self.call(lambda: self.server.lease(token, wish))

    async def put_blob(self, token: str, file: File, offset: int, piece: bytes, *, is_cut: bool) -> BlobState:
        return await self.call(lambda: self.server.put_blob(token, file, offset, pieces(piece, is_cut=is_cut)))

    async def log_in(self, device_id: bytes | None) -> tuple[bytes, str, int]:
        return await self.call(lambda: self.server.log_in(device_id))

    async def log_in_node(self, node_id: bytes, forked: tuple[bytes, ...]) -> tuple[bytes, str, int]:
        return await self.call(lambda: self.server.log_in_node(node_id, forked))
