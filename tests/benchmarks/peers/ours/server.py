"""The sync server for the peers harness: `seed DIR CONVERSATIONS MESSAGES_EACH`, or `serve DIR PORT`.

The product's own server, but for two things: the harness talks to it through a gateway on a port that it does not
know beforehand, so every host is allowed; and `/__count` says how many messages the database holds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import func, select
from starlette.responses import JSONResponse

import sync_server.main
from shared import clock
from shared.change import ConversationField, EntityType, MessageField
from sync_server.settings import ServerSettings
from sync_server.store.database import Database
from sync_server.store.dialect import dialect_for
from sync_server.store.tables import account, cell
from tests.sync_server.device import Device
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

USERNAME = "bench"
AUTHOR = b"\x07" * 8
ROWS_AT_ONCE = 1000
DAY_MS = 86_400_000
# The harness's own data, one JSON array a conversation.
WORKLOAD = """
import * as w from './workload.mjs'
const [convs, per] = process.argv.slice(1).map(Number)
for (let c = 0; c < convs; c++)
  console.log(JSON.stringify([w.conversation(c), Array.from({ length: per }, (_, n) => w.message(c, n))]))
"""


class AnyHost:
    """Stands for the set of allowed hosts, and of origins."""

    def __contains__(self, _: object) -> bool:
        return True


class AnyAddress:
    """Stands for sync_server.guard.Addresses."""

    hosts = origins = AnyHost()

    def __init__(self, *_: object) -> None: ...


class Counting:
    """Answers /__count beside the application."""

    def __init__(self, application: ASGIApp, database: Database) -> None:
        self._application = application
        self._database = database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/__count":
            return await self._application(scope, receive, send)
        is_header = (cell.c.etype == EntityType.MESSAGE) & (cell.c.field == MessageField.HEADER)
        row = await self._database.one(select(func.count().label("messages")).select_from(cell).where(is_header))
        return await JSONResponse({"messages": row["messages"] if row else 0})(scope, receive, send)


async def serve(folder: Path, port: int) -> None:
    """Serve until told to stop."""
    module: Any = sync_server.main
    make = module.make_application
    module.Addresses = AnyAddress
    module.make_application = lambda services, addresses: Counting(make(services, addresses), services.database)
    await sync_server.main.serve(ServerSettings(folder, port=port), lambda _: print("READY", flush=True))  # noqa: T201


async def seed(folder: Path, account_id: bytes, conversations: int, messages: int) -> None:
    """Fill the account."""
    database = Database(dialect_for(None, folder))
    await database.open()
    rows: list[dict[str, Any]] = []
    head = 0
    for made in _cells(conversations, messages):
        head += 1
        rows.append({"account_id": account_id, "dseq": head, "seq": head, "kid": 0, **made})
        if len(rows) == ROWS_AT_ONCE:
            await database.run(cell.insert().values(rows))
            rows = []
    if rows:
        await database.run(cell.insert().values(rows))
    used = select(func.sum(func.length(cell.c.value) + 128)).scalar_subquery()
    await database.run(account.update().values(head=head, bytes_used=used))
    await database.close()


def make_account(folder: Path) -> bytes:
    """Make the account `bench` and return its id."""
    folder.mkdir(parents=True, exist_ok=True)
    running = RunningServer(folder)
    try:
        code = (folder / "setup-code").read_text("utf-8").strip()
        return Device.registered(running.client, USERNAME, setup_code=code).account_id
    finally:
        running.stop()


def _cells(conversations: int, messages: int) -> Iterator[dict[str, Any]]:
    """Yield the cells as two authors wrote them, conversation by conversation."""
    lines = subprocess.run(
        ["node", "--input-type=module", "-e", WORKLOAD, str(conversations), str(messages)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout.splitlines()
    # A month ago, and done before now: some 200,000 cells are 40 minutes.
    stamps = _stamps(time.time_ns() // 1_000_000 - 30 * DAY_MS)
    pack = msgspec.msgpack.encode
    for number, line in enumerate(lines):
        conversation, written = json.loads(line)
        scope = bytes.fromhex(conversation["id"][1:].zfill(32))
        cells: list[tuple[int, bytes, int, object]] = []
        parent = None
        for index, message in enumerate(written):
            eid = bytes([1, *number.to_bytes(4, "big"), *index.to_bytes(11, "big")])
            role = "user" if message["a"] == "u1" else "assistant"
            text = json.dumps(message, separators=(",", ":"))
            cells.append((EntityType.MESSAGE, eid, MessageField.HEADER, {"role": role, "parent": parent}))
            cells.append((EntityType.MESSAGE, eid, MessageField.BODY, text))
            parent = eid
        cells.append((EntityType.CONVERSATION, scope, ConversationField.TITLE, conversation["title"]))
        if parent is not None:
            cells.append((EntityType.CONVERSATION, scope, ConversationField.ACTIVE_LEAF, parent))
        for etype, eid, field, value in cells:
            yield {
                "etype": etype,
                "eid": eid,
                "field": field,
                "scope": scope,
                "clk": next(stamps),
                "value": pack(value),
            }


def _stamps(start_ms: int) -> Iterator[bytes]:
    """Yield clocks in order, ten milliseconds apart."""
    for step in itertools.count():
        yield clock.pack(start_ms + 10 * step, 0, AUTHOR)


if __name__ == "__main__":
    command, where, *numbers = sys.argv[1:]
    if command == "seed":
        asyncio.run(seed(Path(where), make_account(Path(where)), *map(int, numbers)))
    else:
        asyncio.run(serve(Path(where), int(numbers[0])))
