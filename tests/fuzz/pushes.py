"""Bodies of pushes, sent to a real server with its database (rules L8 to L11).

The first byte says what is fuzzed: a whole MessagePack or JSON body, or the changes in a push that is right otherwise.
"""

from __future__ import annotations

import atexit
import http.client
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shared.change import Change
from shared.wire import Pushed
from tests.security.calling import NO_PROBLEM, verdict_of_parts
from tests.security.ledger import Faults
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from tests.fuzz.targets import Target
    from tests.sync_server.device import Device

PATH = "/api/v1/sync/push"
MESSAGEPACK, JSON, CHANGES = range(3)


def make() -> Target:
    """Start a server, and return what pushes to it."""
    folder = tempfile.TemporaryDirectory(prefix="domovoi-fuzz-")
    atexit.register(folder.cleanup)
    server = RunningServer(Path(folder.name) / "data")
    atexit.register(server.stop)
    return Pusher(server).push


class Pusher:
    """One device, and all that it says."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._device: Device = server.first_account()
        self._http = http.client.HTTPConnection("localhost", server.port, timeout=20)
        self._faults = Faults()
        logging.getLogger().addHandler(self._faults)

    def push(self, data: bytes) -> None:
        """Send a body. Raises AssertionError when the answer is none of the closed set, or the log is out of order."""
        how, rest = (data[0] % 3, data[1:]) if data else (MESSAGEPACK, b"")
        body = self._around(rest) if how == CHANGES else rest
        kind = "application/json" if how == JSON else "application/msgpack"
        headers = {**self._device.bearer, "content-type": kind, "accept": "application/msgpack"}
        self._http.request("POST", PATH, body, headers)
        response = self._http.getresponse()
        content = response.read()
        verdict = verdict_of_parts(response.status, response.headers.get("content-type", ""), content)
        # Its database is there: only what is asked can be at fault.
        assert response.status < 500, verdict
        assert NO_PROBLEM not in verdict, verdict
        assert self._faults.texts == []
        if response.status == 200:
            pushed = msgspec.msgpack.decode(content, type=Pushed)
            self._note(body, pushed, is_json=how == JSON)

    def _around(self, changes: bytes) -> bytes:
        """Return a push that goes on from what was acknowledged, with these bytes for its changes."""
        batch = self._device.batch([])
        body = {"epoch": batch.epoch, "first_dseq": batch.first_dseq, "prev_hash": batch.prev_hash, "changes": None}
        return msgspec.msgpack.encode(body).removesuffix(b"\xc0") + changes

    def _note(self, body: bytes, pushed: Pushed, *, is_json: bool) -> None:
        decode = msgspec.json.decode if is_json else msgspec.msgpack.decode
        changes = [msgspec.convert(change, Change, strict=not is_json) for change in decode(body)["changes"]]
        self._device.note(changes[: pushed.acked_dseq - self._device.dseq])
        assert self._device.pull(since=max(0, pushed.head - 1)).head == pushed.head
