"""The two ways to a node, and a stranger who stands on one of them and passes on what it hears, or something else."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import httpx

from tests.inference_node.running_node import ORIGIN
from tests.sealed_http import INSIDE, SealedTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.inference_node.network.home import Home
    from tests.security.household import Household

WITHIN_S = 20.0
NAMES = ("relay", "direct")
# What a stranger makes of a body, given the path that was asked for.
Change = Callable[[str, bytes], bytes]


class Way(NamedTuple):
    """How a node is called: `base` stands before `/v1/…`, `host` and `origin` are those that are let in there.

    `headers` go with each call, outside of the seal.
    """

    base: str
    host: str
    origin: str
    headers: dict[str, str]

    @property
    def port(self) -> int:
        """Where to connect to."""
        return urlsplit(self.base).port or 80


def way_of(name: str, household: Household, home: Home, address: str) -> Way:
    """Return the way of that name to the household's node, which listens at `address`."""
    if name == "relay":
        host = urlsplit(household.server.url).netloc
        base = f"{household.server.url}/relay/{household.thread.node_id}"
        return Way(base, host, household.server.url, {"Host": host, **household.owner.bearer})
    port = urlsplit(household.thread.url).port
    host = f"{address}:{port}"
    return Way(f"http://{home.reach(address)}:{port}", host, ORIGIN, {"Host": host})


@contextmanager
def sealing(household: Household, way: Way, node_id: str | None = None) -> Iterator[httpx.Client]:
    """Give a client that seals for the node, or for another one, whatever it is that answers there."""
    with httpx.Client(trust_env=False, timeout=WITHIN_S) as client:
        transport = SealedTransport(client, way.base, node_id or household.thread.node_id, way.headers)
        with httpx.Client(transport=transport, base_url=INSIDE, timeout=WITHIN_S) as inside:
            yield inside


class Stranger:
    """Answers at an address of its own, by asking on a way; keeps all that passes."""

    def __init__(self, way: Way) -> None:
        self.heard: list[bytes] = []
        self.said: list[bytes] = []
        # What it makes of a request and of an answer.
        self.asks: Change = _as_it_is
        self.answers: Change = _as_it_is
        self._way = way
        self._client = httpx.Client(trust_env=False, timeout=WITHIN_S)
        stranger = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                stranger._answer(self)

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def way(self) -> Way:
        """The way that ends at the stranger."""
        return self._way._replace(base=f"http://127.0.0.1:{self._server.server_address[1]}")

    def ask(self, path: str, body: bytes) -> httpx.Response:
        """Ask as whoever stands there: what it passes on, or plays again."""
        headers = {**self._way.headers, "Content-Type": "application/domovoi-sealed"}
        method = "POST" if body else "GET"
        return self._client.request(method, self._way.base + path, content=body, headers=headers)

    def close(self) -> None:
        """Go away."""
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        self.heard.append(body)
        response = self.ask(handler.path, self.asks(handler.path, body))
        self.said.append(response.content)
        content = self.answers(handler.path, response.content)
        handler.send_response(response.status_code)
        handler.send_header("Content-Type", response.headers["content-type"])
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


def _as_it_is(_: str, body: bytes) -> bytes:
    return body


@contextmanager
def standing_on(way: Way) -> Iterator[Stranger]:
    """Put a stranger there."""
    stranger = Stranger(way)
    try:
        yield stranger
    finally:
        stranger.close()
