"""Answers that are watched as the app watches them, by as many as a test likes: sealed, through the relay."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from shared import values
from shared.errors import Code
from shared.runs import Ended, Text
from shared.values import Request, Sampling
from shared.wire import PathMessage, StartAnswer
from tests.end_to_end.browser import PASSWORD
from tests.inference_node.running_node import events_of, new_id
from tests.network.town import NAME, VPS
from tests.sealed_http import INSIDE, AsyncSealedTransport
from tests.sync_server.device import Device

if TYPE_CHECKING:
    from tests.network.namespaces import Namespace
    from tests.nginx import Nginx

WITHIN_S = 60.0
AGAIN_AFTER_S = 0.2


class Stream:
    """One answer and what has come of it."""

    def __init__(self) -> None:
        self.answer = new_id()
        self.text = ""
        self.last_event = 0
        self.is_open = False
        self.ended = False
        # How often it was cut.
        self.cuts = 0

    @property
    def hash(self) -> str:
        """SHA-256 of the text as a body is stored."""
        return hashlib.sha256(values.encode(self.text)).hexdigest()


class Watchers:
    """A device with many answers, in a thread of its own on a network of the town."""

    def __init__(self, network: Namespace, door: Nginx, node_name: str, count: int, longest: int) -> None:
        self.streams = [Stream() for _ in range(count)]
        self._network = network
        self._tls = ssl.create_default_context(cafile=door.certificate)
        self._tls.check_hostname = False
        self._node_name = node_name
        self._longest = longest
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for the ends of all of them. Raises what went wrong."""
        self._thread.join(WITHIN_S)
        if self._failure is not None:
            raise self._failure
        assert not self._thread.is_alive(), [(stream.last_event, stream.cuts) for stream in self.streams]

    def _run(self) -> None:
        try:
            with self._network.inside():
                asyncio.run(self._watch_all())
        except BaseException as error:
            self._failure = error

    async def _watch_all(self) -> None:
        device = await asyncio.to_thread(self._log_in)
        listed = device.request("GET", "/api/v1/nodes").json()["nodes"]
        node_id = next(node["node_id"] for node in listed if node["name"] == self._node_name)
        response = device.request("POST", "/api/v1/auth/token", json={"audience": f"node:{node_id}"})
        headers = {"authorization": f"Bearer {response.json()['access_token']}", "content-type": "application/msgpack"}
        async with httpx.AsyncClient(**self._options(), timeout=WITHIN_S) as http:
            base = f"https://{VPS}/relay/{node_id}"
            transport = AsyncSealedTransport(http, base, node_id, device.bearer)
            sealed = httpx.AsyncClient(transport=transport, base_url=INSIDE, headers=headers, timeout=WITHIN_S)
            async with asyncio.TaskGroup() as all_of_them:
                for number, stream in enumerate(self.streams):
                    all_of_them.create_task(self._watch(sealed, stream, bytes.fromhex(node_id), number))
        device.http.close()

    async def _watch(self, http: httpx.AsyncClient, stream: Stream, node_id: bytes, number: int) -> None:
        """Start an answer and follow it to its end, over as many streams as it takes."""
        request = Request(node_id, None, Sampling(max_tokens=self._longest, seed=number))
        asked = StartAnswer(stream.answer, new_id(), request, [PathMessage("user", f"Count from {number} on.")])
        response = await http.post("/v1/answers", content=msgspec.msgpack.encode(asked))
        assert response.status_code == 200, response.text
        name = stream.answer.hex()
        while True:
            try:
                last = {"last-event-id": f"{name}:{stream.last_event}"}
                async with http.stream("GET", f"/v1/answers/{name}/events", headers=last) as reply:
                    if reply.status_code == 200:
                        stream.is_open = True
                        await self._read(stream, reply)
                        assert stream.ended, "a stream that ends in good order has told the answer's end"
                        return
                    await reply.aread()
                    # Whoever is cut off is told of the server or of the PC, and of nothing else.
                    assert reply.status_code in {502, 503, 504}, reply.text
                    assert reply.status_code == 502 or reply.json()["code"] == Code.NODE_UNREACHABLE, reply.text
            except httpx.TransportError:
                pass
            stream.cuts += 1
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _read(self, stream: Stream, reply: httpx.Response) -> None:
        async for number, event, _ in events_of(reply):
            assert number == stream.last_event + 1, "events come once and in order"
            stream.last_event = number
            if isinstance(event, Text):
                stream.text += event.text
            stream.ended = isinstance(event, Ended)

    def _log_in(self) -> Device:
        return Device.logged_in(lambda: httpx.Client(**self._options()), "Vera", PASSWORD)

    def _options(self) -> Any:
        """Reach the server by its address: names are for processes that have a table of them."""
        return {"base_url": f"https://{VPS}", "headers": {"host": NAME}, "verify": self._tls, "trust_env": False}
