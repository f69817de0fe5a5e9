"""A phrase that goes through the server sealed is nowhere in the server: memory, files, logs, traffic with its database
(rule H1).

The same search finds what the server is told in the clear, so it can find.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import msgspec
import pytest

from inference_node.server.identity import enrol
from shared import values
from shared.runs import Text
from tests.end_to_end.proxy import CuttingProxy
from tests.inference_node.asking import token_of, until_served
from tests.inference_node.running_node import RunningNode, events_of
from tests.sealed_http import INSIDE, AsyncSealedTransport
from tests.sync_server.device import Device
from tests.sync_server.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.inference_node.scripted_engine import Script
    from tests.mariadb import MariaDB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc shows the memory of a process")

_MAPPED = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r")


def memory_of(process_id: int) -> bytes:
    """Return everything that a process can read in its memory."""
    folder = Path(f"/proc/{process_id}")
    pieces = []
    with (folder / "mem").open("rb", buffering=0) as memory:
        for line in (folder / "maps").read_text().splitlines():
            mapped = _MAPPED.match(line)
            if mapped is None:
                continue
            start, end = (int(address, 16) for address in mapped.groups())
            try:
                memory.seek(start)
                pieces.append(memory.read(end - start))
            except (OSError, ValueError, OverflowError):
                # What belongs to the kernel, or to a device.
                continue
    return b"".join(pieces)


class Watched(NamedTuple):
    """A server, its folder, and what stands on the way to its database if that is a program of its own."""

    server: ServerProcess
    folder: Path
    proxy: CuttingProxy | None


def places_of(phrase: str, watched: Watched) -> set[str]:
    """Return where a phrase is, as a program or a person would write it down."""
    server, folder, proxy = watched
    node = folder / "data" / "node"
    files = [path for path in folder.rglob("*") if path.is_file() and node not in path.parents]
    found = {path.name for path in files if phrase.encode() in path.read_bytes()}
    if proxy is not None and any(phrase.encode() in stream for stream in proxy.recorded):
        found.add("database traffic")
    memory = memory_of(server.process_id)
    return found | ({"memory"} if phrase.encode() in memory or phrase.encode("utf-16-le") in memory else set())


def phrase() -> str:
    return f"canary-{secrets.token_hex(12)}"


@pytest.fixture(params=["sqlite", "mariadb"])
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    """A server over each database; MariaDB it reaches by way of a proxy that keeps every byte."""
    proxy = url = None
    if request.param == "mariadb":
        mariadb: MariaDB = request.getfixturevalue("mariadb")
        proxy = CuttingProxy(mariadb.port, is_recording=True)
        url = mariadb.new_database().replace(f":{mariadb.port}/", f":{proxy.port}/")
    server = ServerProcess(tmp_path / "data", url)
    yield Watched(server, tmp_path, proxy)
    server.close()
    if proxy is not None:
        proxy.close()


async def test_H1_the_server_has_nothing_of_what_it_relays(watched: Watched, script: Script) -> None:
    server, tmp_path, proxy = watched
    await asyncio.to_thread(server.start)
    node = RunningNode(tmp_path / "data", make_engine=script.make_engine, server_url=server.url)
    node.add_scripted_model()
    enrol(tmp_path / "data", node.identity)
    await node.start()
    try:
        code = (tmp_path / "data" / "setup-code").read_text().strip()
        device = await asyncio.to_thread(Device.registered, server.client, "Owner", setup_code=code)
        await until_served(node, device)
        token = await asyncio.to_thread(token_of, node, device)
        base = f"{server.url}/relay/{node.identity.node_id}"
        transport = AsyncSealedTransport(node.http, base, node.identity.node_id, device.bearer)
        headers = {"authorization": f"Bearer {token}"}
        client = httpx.AsyncClient(transport=transport, base_url=INSIDE, headers=headers)
        # By call, by answer, and by the words of a run: none of it is of the log, which the server stores.
        asked, named = phrase(), phrase()
        script.held = True
        body = node.request(asked)
        msgpack = {"content-type": "application/msgpack"}
        started = await client.post("/v1/answers", content=msgspec.msgpack.encode(body), headers=msgpack)
        assert started.status_code == 200, started.text
        said = phrase()
        async with client.stream("GET", f"/v1/answers/{body.answer.hex()}/events") as stream:
            script.say(said)
            async for event in events_of(stream):
                if isinstance(event.event, Text) and said in event.event.text:
                    break
        made = await client.post("/v1/keys", json={"name": named})
        assert named in made.text
        for secret in (asked, said, named):
            assert await asyncio.to_thread(places_of, secret, watched) == set()
        # What it is told in the clear, the same search finds.
        told = phrase()
        device_path = f"/api/v1/devices/{device.session.device_id}"
        renamed = await asyncio.to_thread(device.request, "PATCH", device_path, json={"name": told})
        assert renamed.status_code == 200
        assert "memory" in await asyncio.to_thread(places_of, told, watched)
        # So it does on the way to the database: what was synced, and what the server itself has written.
        synced = phrase()
        await asyncio.to_thread(device.write, values.encode(synced))
        is_seen = {"database traffic"} if proxy is not None else set()
        for plain in (told, synced):
            assert await asyncio.to_thread(places_of, plain, watched) >= is_seen
    finally:
        await node.stop()
