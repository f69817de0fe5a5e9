"""What every store must keep to: strict isolation, an index for every statement, and no conflict that shows."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import pymysql
from sqlalchemy import make_url, text

from shared import clock as hybrid_clock
from shared import values
from shared.canonical import FIRST_HASH, fold_hashes
from shared.change import AttachmentField, Change, ConversationField, EntityType
from shared.wire import IfLease, LeaseRequest, Push
from sync_server import clock
from sync_server.accounts.devices import check_device, create_device, list_devices
from sync_server.blobs.blob_files import BlobFiles
from sync_server.blobs.blobs import Blobs
from sync_server.log.bootstrap import bootstrap
from sync_server.log.digests import digest_of
from sync_server.log.leases import lease_answer
from sync_server.log.pull import pull
from sync_server.log.purges import acknowledge, expire_tombstones
from sync_server.log.push import push
from sync_server.nodes.nodes import NodeKey, add_shared_node, grants_of
from sync_server.store.database import Connection, Database
from sync_server.store.dialect import MySQL, dialect_for
from sync_server.store.tables import account
from tests.sync_server.node_device import NodeDevice
from tests.sync_server.test_blobs import path_of, put
from tests.sync_server.test_purges import purge_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    import pytest
    from sqlalchemy.sql import ClauseElement

    from sync_server.store.prepared import Prepared
    from tests.mariadb import MariaDB
    from tests.sync_server.device import Device
    from tests.sync_server.fake_node import Identity
    from tests.sync_server.running_server import RunningServer

# Enough that reading a table from end to end is never the cheaper way.
CONVERSATIONS = 40
MESSAGES = 25
ACCOUNTS = [bytes([number]) * 16 for number in (1, 2)]


class Asked(NamedTuple):
    """One statement as the database got it."""

    text: str
    arguments: Sequence[Any]


async def test_mariadb_is_as_strict_as_it_gets_whatever_its_configuration_says(
    mariadb: MariaDB, tmp_path: Path
) -> None:
    mariadb.run("SET GLOBAL tx_isolation = 'READ-COMMITTED', GLOBAL innodb_snapshot_isolation = OFF")
    dialect = dialect_for(mariadb.new_database(), tmp_path)
    database = Database(dialect)
    try:
        await database.open()
        asked = text("SELECT @@tx_isolation AS isolation, @@innodb_snapshot_isolation AS snapshot")
        row = await database.one(asked)
        assert row is not None
        assert (row["isolation"], row["snapshot"]) == ("REPEATABLE-READ", 1)
    finally:
        await database.close()
        mariadb.run("SET GLOBAL tx_isolation = DEFAULT, GLOBAL innodb_snapshot_isolation = DEFAULT")


def change(number: int, **fields: Any) -> Change:
    clk = hybrid_clock.pack(clock.now_ms() - 100_000 + number, 0, bytes(8))
    made = {"clk": clk, "etype": 3, "eid": os.urandom(16), "field": 1, "scope": bytes(16), "kid": 0, "value": b"\xa1x"}
    return Change(**{**made, **fields})


class Writer:
    """A device that pushes without HTTP."""

    def __init__(self, database: Database, account_id: bytes, device_id: bytes) -> None:
        self.place = (database, account_id, device_id)
        self.dseq, self.hash = 0, FIRST_HASH

    async def push(self, changes: list[Change], **more: Any) -> None:
        await push(*self.place, Push(1, self.dseq + 1, self.hash, changes, **more))
        self.hash = fold_hashes(self.hash, self.dseq + 1, changes)[-1]
        self.dseq += len(changes)


async def fill(database: Database) -> list[Writer]:
    """Make the accounts and their cells; return a device of each."""
    writers = []
    for account_id in ACCOUNTS:
        fields = dict.fromkeys(("head", "floor", "bytes_used"), 0) | {"epoch": 1, "quota_bytes": 10**9}
        names = {"username": account_id.hex(), "username_folded": account_id, "password_hash": "", "is_owner": False}
        await database.run(account.insert().values(account_id=account_id, created_ms=0, **fields, **names))
        device_id = await database.transact(lambda c, a=account_id: create_device(c, a, "app", "x"))  # type: ignore[misc]
        writers.append(Writer(database, account_id, device_id))
    for number in range(CONVERSATIONS):
        scope = number.to_bytes(2, "big") * 8
        changes = [change(number, etype=2, eid=scope, scope=scope)]
        changes += [change(number, scope=scope) for _ in range(MESSAGES)]
        for writer in writers:
            await writer.push(changes)
    return writers


async def do_everything(database: Database, writer: Writer, folder: Path) -> None:
    """Run every statement that works on an account's data."""
    account_id, device_id = writer.place[1:]
    scope = bytes(16)
    await check_device(database, account_id, device_id, "127.0.0.1")
    await list_devices(database, account_id, device_id)
    await pull(database, account_id, 500, 50, 1)
    await acknowledge(database, account_id, device_id, 500)
    page = await bootstrap(database, account_id, None, 30)
    for _ in range(2):
        page = await bootstrap(database, account_id, page.after, 30)
    await bootstrap(database, account_id, None, 10, (7).to_bytes(2, "big") * 8)
    await digest_of(database, account_id)
    key = NodeKey(os.urandom(16), "PC", os.urandom(32))
    await database.transact(lambda connection: add_shared_node(connection, key))
    [grant] = [grant for grant in await grants_of(database, key.node_id) if grant.account_id == account_id]
    lease = await lease_answer(database, account_id, grant.device_id, LeaseRequest(scope, "claim"))
    await writer.push([change(0)], if_lease=IfLease(scope, lease.token))
    await lease_answer(database, account_id, grant.device_id, LeaseRequest(scope, "release", lease.token))
    purged = (3).to_bytes(2, "big") * 8
    await writer.push([change(1, etype=2, eid=purged, scope=purged, field=ConversationField.PURGED)])
    await writer.push([change(2, scope=purged), change(3)])
    await expire_tombstones(database, account_id)
    content = os.urandom(10)
    blobs = Blobs(database, BlobFiles(folder))
    sha256 = hashlib.sha256(content).digest()
    name = values.encode(sha256)
    await writer.push([change(4, etype=EntityType.ATTACHMENT, field=AttachmentField.BLOB, value=name)])
    await blobs.put(account_id, sha256, 0, len(content), pieces(content))
    await blobs.state(account_id, sha256)
    await blobs.collect(account_id)


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Return a list that fills with the statements that are run from now on."""
    asked: list[Asked] = []

    def spy(name: str) -> None:
        real = getattr(Connection, name)

        async def run(self: Connection, statement: ClauseElement) -> Any:
            kind = {"render_postcompile": True}
            compiled: Any = statement.compile(dialect=self.dialect.grammar, compile_kwargs=kind)
            arguments = [compiled.params[key] for key in compiled.positiontup or ()]
            asked.append(Asked(compiled.string, arguments))
            return await real(self, statement)

        monkeypatch.setattr(Connection, name, run)

    real_rows = Connection.rows

    async def rows(self: Connection, prepared: Prepared, *shape: int, **given: Any) -> Any:
        compiled = prepared.compiled(self.dialect, *shape)
        asked.append(Asked(compiled.text, compiled.arguments(given)))
        return await real_rows(self, prepared, *shape, **given)

    for name in ("all", "one", "run"):
        spy(name)
    monkeypatch.setattr(Connection, "rows", rows)
    return asked


def complaints(database: Database, asked: Asked) -> list[str]:
    """Return which of the database's ways to the rows are not by an index, or sort them first."""
    dialect = database.dialect
    if isinstance(dialect, MySQL):
        url = make_url(dialect.url)
        connection = pymysql.connect(host=url.host, port=url.port or 0, user=url.username, database=url.database)
        with connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(f"EXPLAIN {asked.text}", asked.arguments)
            said = [_complaint(row) for row in cursor.fetchall()]
            return [complaint for complaint in said if complaint is not None]
    with closing(sqlite3.connect(dialect.path)) as file:  # type: ignore[attr-defined]  # the only other kind
        rows = file.execute(f"EXPLAIN QUERY PLAN {asked.text}", list(asked.arguments)).fetchall()
        return [row[3] for row in rows if row[3].startswith("SCAN") or "TEMP B-TREE" in row[3]]


def _complaint(row: dict[str, Any]) -> str | None:
    extra = row["Extra"] or ""
    if "filesort" in extra or "temporary" in extra:
        return f"SORT {row['table']}"
    # No type: answered without any row, from the statistics or because none can match.
    return f"SCAN {row['table']}" if row["type"] in {"ALL", "index"} else None


async def _pretend_large(database: Database) -> None:
    """Tell MariaDB that its tables are large: those of a few rows it reads from end to end, whatever their indexes."""
    for statement in (
        "UPDATE mysql.innodb_table_stats SET n_rows = 100000, clustered_index_size = 1000 WHERE {here}",
        "UPDATE mysql.innodb_index_stats SET stat_value = 50000 WHERE {here} AND stat_name = 'n_diff_pfx01'",
        "FLUSH TABLES",
    ):
        await database.run(text(statement.format(here="database_name = DATABASE()")))


UNPLANNED = ("INSERT", "BEGIN", "START", "COMMIT", "ROLLBACK")
# An account's few devices are sorted by age, a new PC of the house serves every account, and the size of a page is the
# sum of all sizes in it.
MEANT = {"USE TEMP B-TREE FOR ORDER BY", "SORT device", "SCAN account", "SCAN anon_1", "SCAN <derived2>"}


async def test_every_statement_on_an_accounts_data_uses_an_index(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [writer, _] = await fill(database)
    asked = recorded(monkeypatch)
    await do_everything(database, writer, tmp_path / "blobs")
    monkeypatch.undo()
    if isinstance(database.dialect, MySQL):
        await _pretend_large(database)
    distinct = {each.text: each for each in asked if not each.text.startswith(UNPLANNED)}
    assert len(distinct) > 40
    bad = [(each.text, said) for each in distinct.values() for said in complaints(database, each) if said not in MEANT]
    assert bad == []


async def test_no_conflict_is_ever_shown(shared_server: RunningServer, device: Device, identity: Identity) -> None:
    """Everything that locks the account at once, from several devices: each answer is a success."""
    node = NodeDevice(shared_server, identity, device)
    writers = [device, device.sibling(), device.sibling()]
    scopes = [os.urandom(16) for _ in range(8)]

    def write(writer: Device) -> None:
        for number in range(8):
            assert writer.push(writer.change(scope=scopes[number]), writer.change()).rejected == []
            if writer is device:
                assert writer.push(purge_of(writer, scopes[number])).rejected == []
            content = os.urandom(50)
            assert put(writer, content, content).status_code == 200
            assert writer.request("GET", path_of(content)).content == content
            assert writer.request("GET", "/api/v1/sync/digest").status_code == 200
            writer.pull(number + 1)

    def lease() -> None:
        for _ in range(12):
            answer = os.urandom(16)
            claimed = node.claim(answer)
            assert node.seal(answer, claimed.token).status_code == 200
            assert node.lease("release", answer, claimed.token).status_code == 200

    with ThreadPoolExecutor(4) as threads:
        running = [*(threads.submit(write, writer) for writer in writers), threads.submit(lease)]
        await asyncio.gather(*(asyncio.wrap_future(future) for future in running))
    held = {change.scope for change in device.pull(limit=1000).changes if change.field != ConversationField.PURGED}
    assert held.isdisjoint(scopes)
