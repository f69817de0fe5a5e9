"""How long a revoked device still hears something: from the click on another device to the end of each open stream.

Server and node are real, over real sockets, in one process with those who listen; only the engine is scripted. What is
measured goes into docs/security.md. No peer is measured.
"""

from __future__ import annotations

import contextlib
import logging
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import msgspec

from tests.benchmarks.records import Record, machine, report
from tests.inference_node.running_node import MESSAGE_PACK
from tests.sealed_http import INSIDE, SealedTransport
from tests.security.household import Household
from tests.structure.tracked import ROOT

if TYPE_CHECKING:
    from tests.sync_server.device import Device

RUNS = 100
WITHIN_S = 20.0
PAGE = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- Made by `python -m tests.benchmarks.revocation`. -->\n", "<!-- The measurement ends here. -->\n"


class Relay(NamedTuple):
    """A node behind the server: the address before `/v1/…`, the node's id, and what the server asks for."""

    base: str
    node_id: str
    headers: dict[str, str]


class Listener:
    """Reads a stream in a thread of its own, and notes when it ends. Through a relay it is sealed."""

    def __init__(self, url: str, headers: dict[str, str], relay: Relay | None = None) -> None:
        self.ended_s = 0.0
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(url, headers, relay), daemon=True)
        self._thread.start()
        assert self._first.wait(WITHIN_S), f"nothing comes from {url}"

    def wait(self) -> float:
        """Return when the stream ended, on `time.perf_counter`'s clock."""
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive(), "the stream goes on"
        return self.ended_s

    def _read(self, url: str, headers: dict[str, str], relay: Relay | None) -> None:
        with (
            contextlib.suppress(httpx.RemoteProtocolError),
            httpx.Client(trust_env=False, timeout=WITHIN_S) as bare,
            httpx.Client(
                transport=relay and SealedTransport(bare, *relay), trust_env=False, timeout=WITHIN_S
            ) as client,
            client.stream("GET", url, headers=headers) as stream,
        ):
            assert stream.status_code == 200
            for _ in stream.iter_raw():
                self._first.set()
        self.ended_s = time.perf_counter()


def main() -> None:
    """Measure, print, and write the page."""
    # uvicorn tells of each call that is cut off, which is what is measured.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        household = Household(Path(folder) / "data")
        try:
            delays = measure(household, RUNS)
        finally:
            household.close()
    records = []
    for stream, values in delays.items():
        percentile = statistics.quantiles(values, n=100)
        stem = "revocation_" + stream.replace(", ", "_")
        records += [
            Record(f"{stem}_{name}", f"{RUNS} devices in turn", value, "ms", RUNS)
            for name, value in (("p50", percentile[49]), ("p99", percentile[98]))
        ]
    report("revocation", records)
    PAGE.write_text(page_with(delays), "utf-8")


def measure(household: Household, runs: int) -> dict[str, list[float]]:
    """Return, for each kind of stream, the ms from the request that revokes to the stream's end."""
    owner = household.owner
    household.thread.script.held = True
    answer = _asked(household)
    delays: dict[str, list[float]] = {"server": [], "node, direct": [], "node, relayed": []}
    for _ in range(runs):
        phone = owner.sibling()
        listeners = _listeners(household, phone, answer)
        clicked = time.perf_counter()
        assert owner.request("DELETE", f"/api/v1/devices/{phone.session.device_id}").status_code == 204
        for kind, listener in listeners.items():
            delays[kind].append((listener.wait() - clicked) * 1000)
    headers = {"authorization": f"Bearer {household.own_token('loopback')}"}
    stopped = household.http.post(f"{household.thread.url}/v1/answers/{answer}/stop", headers=headers)
    assert stopped.status_code == 204
    household.thread.script.held = False
    return delays


def _asked(household: Household) -> str:
    """Have the owner ask what is never answered, and return the answer's id."""
    body = household.thread.node.request("Tell me.")
    headers = {**MESSAGE_PACK, "authorization": f"Bearer {household.own_token('loopback')}"}
    url = f"{household.thread.url}/v1/answers"
    assert household.http.post(url, content=msgspec.msgpack.encode(body), headers=headers).status_code == 200
    return body.answer.hex()


def _listeners(household: Household, phone: Device, answer: str) -> dict[str, Listener]:
    token = household.node_token(phone)
    path = f"/v1/answers/{answer}/events"
    relay = Relay(household.url("remote"), household.thread.node_id, phone.bearer)
    return {
        "server": Listener(f"{household.server.url}/api/v1/events", phone.bearer),
        "node, direct": Listener(household.url("loopback") + path, {"authorization": f"Bearer {token}"}),
        "node, relayed": Listener(INSIDE + path, {"authorization": f"Bearer {token}"}, relay),
    }


def page_with(delays: dict[str, list[float]]) -> str:
    """Return the page with this table made anew."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    lines = ["| stream of | p50, ms | p99, ms | most, ms |", "| --- | ---: | ---: | ---: |"]
    for stream, values in delays.items():
        percentile = statistics.quantiles(values, n=100)
        lines.append(f"| {stream} | {percentile[49]:.0f} | {percentile[98]:.0f} | {max(values):.0f} |")
    load = os.getloadavg()[0]
    words = (
        f"\n{RUNS} devices in turn, each with all three open, on {machine()} at a load of {load:.0f};\n"
        "everything in one process.\n\n"
    )
    return before + BEGIN + words + "\n".join(lines) + "\n\n" + END + after


if __name__ == "__main__":
    main()
