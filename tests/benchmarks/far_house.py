"""A server, a node whose engine stamps what it says, and phones, each a process of its own.

Between node and server, and between phone and node on the straight way, lies one link with the same round trip; the
phone sits beside the server. So both ways cross the link once, and what the relay takes longer is the relay's.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import psutil

from shared.values import Request, Sampling
from shared.wire import PathMessage, StartAnswer
from tests.benchmarks.phone import Watch, Way
from tests.benchmarks.slow_link import slow_link
from tests.end_to_end.household import Household, wait_until
from tests.inference_node.running_node import MESSAGE_PACK, new_id
from tests.sync_server.device import Device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.slow_link import SlowLink

WITHIN_S = 60.0


class FarHouse:
    """All of it, running. `tunnel` is the link between node and server, `straight` the one between phone and node."""

    def __init__(self, house: Household, tunnel: SlowLink, straight: SlowLink, node_url: str, host: str) -> None:
        self.house = house
        self.tunnel = tunnel
        self.straight = straight
        self.node_id = ""
        connect = partial(httpx.Client, base_url=house.url, trust_env=False, timeout=WITHIN_S)
        self.owner = Device.registered(connect, "Owner", setup_code=house.setup_code)
        self._node = httpx.Client(base_url=node_url, trust_env=False, timeout=WITHIN_S)
        self._host = host

    @property
    def server(self) -> psutil.Process:
        return psutil.Process(self.house.processes["server"].pid)

    @property
    def relayed(self) -> Way:
        """The way through the server."""
        port = self.house.port
        return Way("127.0.0.1", port, f"localhost:{port}", f"/relay/{self.node_id}", self.owner.bearer)

    @property
    def direct(self) -> Way:
        """The way over the network at home."""
        return Way("127.0.0.1", self.straight.port, self._host, "", {})

    def settle(self, transport: str) -> None:
        """Wait until that carries the node's tunnel, and the node serves the owner."""
        wait_until(lambda: self._is_served(transport), f"a tunnel by {transport}")

    def _is_served(self, transport: str) -> bool:
        nodes = self.owner.request("GET", "/api/v1/nodes").json()["nodes"]
        if not nodes or not nodes[0]["awake"] or nodes[0]["transport"] != transport:
            return False
        if (nodes[0]["status"] or {}).get("engine_state") != "ready":
            return False
        self.node_id = nodes[0]["node_id"]
        asked = self.owner.request("POST", "/api/v1/auth/token", json={"audience": f"node:{self.node_id}"})
        self._node.headers["authorization"] = f"Bearer {asked.json()['access_token']}"
        return self._node.get("/v1/status").is_success

    def ask(self, question: str, **sampling: Any) -> str:
        """Start an answer on the PC itself, and return its id."""
        asked = Request(bytes.fromhex(self.node_id), None, Sampling(**sampling))
        body = StartAnswer(new_id(), new_id(), asked, [PathMessage("user", question)])
        response = self._node.post("/v1/answers", content=msgspec.msgpack.encode(body), headers=MESSAGE_PACK)
        assert response.status_code == 200, response.text
        return body.answer.hex()

    def stop(self, answer: str) -> None:
        """End an answer."""
        assert self._node.post(f"/v1/answers/{answer}/stop").is_success

    def watch(self, answer: str, way: Way) -> Watch:
        """Return a watch of it, to be followed."""
        return Watch(way, self.node_id, self._node.headers["authorization"], answer)


@contextmanager
def far_house(data: Path, model: Path | None = None, pace: float | None = None) -> Iterator[FarHouse]:
    """Start all of it, with accel's engine and a model, or an engine that says `pace` words a second."""
    house = Household(data)
    with ExitStack() as stack:
        tunnel = stack.enter_context(slow_link(house.port))
        house.environment["DOMOVOI_PUBLIC_URL"] = url = f"http://localhost:{tunnel.port}"
        if model is not None:
            house.add_model(model)
        house.start("server")
        stack.callback(house.stop_all)
        command = [sys.executable, "-m", "tests.benchmarks.stamping_node", str(data), url]
        node = subprocess.Popen([*command, *([str(pace)] if pace else [])], stdout=subprocess.PIPE)
        house.processes["node"] = node
        assert node.stdout is not None
        node_url = node.stdout.readline().decode().strip()
        address, reach = node.stdout.readline().decode().split()
        port = node_url.rpartition(":")[2]
        straight = stack.enter_context(slow_link(int(port), reach))
        yield FarHouse(house, tunnel, straight, node_url, f"{address}:{port}")
