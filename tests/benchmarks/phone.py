"""A phone that costs next to nothing: it notes when each event of an answer came, and opens the seals afterwards."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64decode
from typing import TYPE_CHECKING, NamedTuple

import httpx
import msgspec

from shared.sealed_wire import SealingKeys
from shared.sealing import SEALED
from tests.benchmarks.raw_http import request_bytes
from tests.benchmarks.stamping_engine import STAMP
from tests.sealed_http import INSIDE, sealed

if TYPE_CHECKING:
    from shared.sealing import ReplyOpener

_NUMBER = re.compile(rb"^id: [0-9a-f]+:(\d+)$", re.MULTILINE)


class Arrival(NamedTuple):
    """When an event was passed on by the engine's process and when it was here, in ns of the monotonic clock."""

    number: int
    stamped_ns: int
    arrived_ns: int

    @property
    def late_ms(self) -> float:
        return (self.arrived_ns - self.stamped_ns) / 1e6


class Way(NamedTuple):
    """How a node is called: at which address and port, as what host, below which path, with what on the outside."""

    address: str
    port: int
    host: str
    path: str
    headers: dict[str, str]

    @property
    def base(self) -> str:
        return f"http://{self.address}:{self.port}{self.path}"


class Watch:
    """One event stream of an answer, sealed, over one way. `arrivals` is for afterwards."""

    def __init__(self, way: Way, node_id: str, authorization: str, answer: str) -> None:
        self._way = way
        headers = {"host": way.host, **way.headers}
        published = httpx.get(f"{way.base}/v1/keys", headers=headers, trust_env=False)
        keys = msgspec.json.decode(published.content, type=SealingKeys)
        events = f"{INSIDE}/v1/answers/{answer}/events"
        inner = httpx.Request("GET", events, headers={"authorization": authorization})
        call = sealed(keys, node_id, inner)
        outer = {**way.headers, "content-type": SEALED}
        request = request_bytes("POST", f"{way.path}/v1/sealed", outer, call.request)
        self._request = request.replace(b"host: localhost", f"host: {way.host}".encode(), 1)
        self._opener: ReplyOpener = call.opener
        self._came: list[tuple[int, bytes]] = []
        self.began = asyncio.Event()

    @property
    def count(self) -> int:
        """How many events have come."""
        return len(self._came)

    async def follow(self) -> None:
        """Read to the end of the answer."""
        reader, writer = await asyncio.open_connection(self._way.address, self._way.port)
        writer.write(self._request)
        status = await reader.readuntil(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 200"), status
        rest = b""
        # An event may be in several chunks, and a chunk hold several.
        while size := int(await reader.readline(), 16):
            *events, rest = (rest + (await reader.readexactly(size + 2))[:-2]).split(b"\n\n")
            self._came += [(time.monotonic_ns(), event) for event in events]
            self.began.set()
        writer.close()

    def arrivals(self) -> list[Arrival]:
        """Return what came, opened. Of events that hold several texts the last one's stamp counts."""
        found = []
        for arrived_ns, event in self._came:
            inner = self._opener.open(b64decode(event.removeprefix(b"data: "), validate=True))
            number, stamps = _NUMBER.search(inner), STAMP.findall(inner)
            if number and stamps:
                found.append(Arrival(int(number[1]), int(stamps[-1]), arrived_ns))
        return found
