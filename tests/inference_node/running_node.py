"""A real node in this process: uvicorn on a free port, a real database, and somebody who issues tokens."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import msgspec

from inference_node.engines.child_engine import ChildEngine
from inference_node.loading.loader import LoadLimits
from inference_node.log import replica
from inference_node.log.database import Database
from inference_node.main import serve
from inference_node.network.interfaces import read_table
from inference_node.server.identity import ensure_identity
from inference_node.settings import NodeSettings
from shared import private_files
from shared.identifiers import uuid7
from shared.node_status import NodeStatus
from shared.runs import RunEvent
from shared.values import Request, Sampling
from shared.wire import PathMessage, StartAnswer
from tests.inference_node.authority import Authority
from tests.inference_node.gguf_file import write_gguf

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from inference_node.engines.engine import Engine
    from inference_node.network.interfaces import InterfaceAddress
    from shared.wire import Level

WITHIN_S = 20.0
ORIGIN = "http://localhost:8460"
MESSAGE_PACK = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}


class Event(NamedTuple):
    number: int
    event: RunEvent
    raw: str


def new_id() -> bytes:
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


def unused_url() -> str:
    """Return the address of a server that is away."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://localhost:{probe.getsockname()[1]}"


class RunningNode:
    """One node, started and stopped at will over the same data."""

    def __init__(
        self,
        data: Path,
        *,
        make_engine: Callable[[str], Engine] = ChildEngine,
        read_table: Callable[[], list[InterfaceAddress]] = read_table,
        **settings: Any,
    ) -> None:
        given = {"port": 0, "server_url": unused_url(), "allowed_origins": (ORIGIN,), "name": "Test PC", **settings}
        self.settings = NodeSettings(data, **given)
        self.identity = ensure_identity(data, self.settings.name)
        self.authority = Authority(self.identity.node_id)
        self.account = os.urandom(16)
        self.url = ""
        self.http = httpx.AsyncClient(trust_env=False, timeout=WITHIN_S)
        self._make_engine = make_engine
        self._read_table = read_table
        self.limits = LoadLimits(first_pause=0.001, longest_pause=0.01, look_again=0.02, look_every=0.02)
        self._task: asyncio.Task[None] | None = None
        self.settings.models.mkdir(parents=True, exist_ok=True)

    @property
    def node_id(self) -> bytes:
        return bytes.fromhex(self.identity.node_id)

    @property
    def bearer(self) -> dict[str, str]:
        """Headers of a device of the account."""
        return {"Authorization": f"Bearer {self.authority.token(self.account)}"}

    # Before the start.

    def add_scripted_model(self, name: str = "Test-Model.gguf") -> Path:
        """Put a file there that the scripted engine takes for a model."""
        return write_gguf(self.settings.models / name)

    def add_model(self, model: Path) -> None:
        """Put a real model there."""
        os.link(model, self.settings.models / model.name)

    async def grant(self, *accounts: bytes, level: Level = "manage") -> None:
        """Leave behind what a login at the server leaves: the server's keys, and the accounts."""
        private_files.replace(self.settings.folder / "keyset.json", self.authority.kept())
        async with self.database() as database, database.transaction() as connection:
            for account in accounts:
                await replica.serve(connection, account, os.urandom(8), 0)
                await connection.execute("UPDATE account SET level = ? WHERE account_id = ?", (level, account))

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Open the node's database beside it."""
        database = await Database.open(self.settings.folder / "node.db")
        try:
            yield database
        finally:
            await database.close()

    # Start and stop.

    async def start(self, *, wait_for_engine: bool = True) -> None:
        """Start and wait until the node answers. Raises what `serve` raises."""
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = serve(self.settings, ready.set_result, self._make_engine, self.limits, self._read_table)
        self._task = asyncio.create_task(serving)
        either: set[asyncio.Future[Any]] = {ready, self._task}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=WITHIN_S)
        if not ready.done():
            await self._task
        self.url = ready.result()
        await self.until(self._answers if not wait_for_engine else self.is_healthy)

    async def stop(self) -> None:
        """Stop as a cancelled task does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.http.aclose()

    async def restart(self) -> None:
        """Stop in good order and start over the same data."""
        await self.stop()
        self.http = httpx.AsyncClient(trust_env=False, timeout=WITHIN_S)
        await self.start()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until an async condition holds."""
        async with asyncio.timeout(WITHIN_S):
            while not await condition():  # noqa: ASYNC110  # asked over HTTP, there is no event to wait for
                await asyncio.sleep(0.005)

    async def status(self) -> NodeStatus:
        """Return what the node says of itself."""
        response = await self.http.get(f"{self.url}/v1/status", headers=self.bearer)
        return msgspec.json.decode(response.content, type=NodeStatus)

    async def is_healthy(self) -> bool:
        return await self._answers() and (await self.http.get(f"{self.url}/healthz")).is_success

    async def _answers(self) -> bool:
        try:
            await self.http.get(f"{self.url}/openapi.json")
        except httpx.TransportError:
            return False
        return True

    # What a device does.

    def request(self, text: str = "Hello?", **more: Any) -> StartAnswer:
        """Return a request for a new answer."""
        path = more.pop("path", [PathMessage("user", text)])
        sampling = more.pop("sampling", Sampling())
        asked = Request(more.pop("node", self.node_id), more.pop("model", None), sampling)
        return StartAnswer(more.pop("answer", None) or new_id(), more.pop("conversation", new_id()), asked, path)

    async def post(self, body: StartAnswer, **headers: str) -> httpx.Response:
        """Send the request directly."""
        everything = {**MESSAGE_PACK, **self.bearer, **headers}
        return await self.http.post(f"{self.url}/v1/answers", content=msgspec.msgpack.encode(body), headers=everything)

    async def ask(self, text: str = "Hello?", **more: Any) -> bytes:
        """Start an answer and return its id."""
        body = self.request(text, **more)
        response = await self.post(body)
        assert response.status_code == 200, response.text
        return body.answer

    async def watch(
        self, answer: bytes, after: int = 0, headers: dict[str, str] | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield the run's events as an app reads them."""
        headers = {**(headers or self.bearer), **({"Last-Event-ID": f"{answer.hex()}:{after}"} if after else {})}
        async with self.http.stream("GET", f"{self.url}/v1/answers/{answer.hex()}/events", headers=headers) as stream:
            assert stream.status_code == 200, await stream.aread()
            async for event in events_of(stream):
                yield event

    async def whole(self, answer: bytes, after: int = 0, headers: dict[str, str] | None = None) -> list[Event]:
        """Return all events to the end of the run."""
        async with asyncio.timeout(WITHIN_S):
            return [event async for event in self.watch(answer, after, headers)]

    async def stop_answer(self, answer: bytes) -> httpx.Response:
        return await self.http.post(f"{self.url}/v1/answers/{answer.hex()}/stop", headers=self.bearer)


async def events_of(stream: httpx.Response) -> AsyncIterator[Event]:
    """Parse server-sent events."""
    fields: dict[str, str] = {}
    async for line in stream.aiter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            event: RunEvent = msgspec.json.decode(fields["data"], type=RunEvent)
            assert type(event).__struct_config__.tag == fields["event"]
            yield Event(int(fields["id"].rpartition(":")[2]), event, fields["data"])
            fields = {}
