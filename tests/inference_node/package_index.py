"""A package index on loopback whose faults a test chooses."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from inference_node.catalogue import WheelModel
from shared.values import Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = b"GGUF" + bytes(range(256)) * 1200
MEMBER = "tiny/tiny.gguf"
WHEEL = "tiny-1.0-py3-none-any.whl"


def make_wheel(model: bytes = MODEL) -> bytes:
    """Return a wheel that holds the model."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(MEMBER, model)
        archive.writestr("tiny-1.0.dist-info/METADATA", "Name: tiny")
    return buffer.getvalue()


def catalogued(wheel: bytes, model: bytes = MODEL) -> WheelModel:
    """Return the catalogue's entry for such a wheel."""
    return WheelModel(
        file_name="Tiny-Q4_0.gguf",
        size=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
        licence="Apache-2.0",
        package="tiny",
        wheel_name=WHEEL,
        wheel_size=len(wheel),
        wheel_sha256=hashlib.sha256(wheel).hexdigest(),
        member=MEMBER,
        sampling=Sampling(),
    )


@dataclass
class PackageIndex:
    """`cuts` are sizes after which successive answers break off; `requests` are the ranges that were asked for."""

    wheel: bytes
    cuts: list[int] = field(default_factory=list)
    takes_ranges: bool = True
    etag: str | None = '"one"'
    status: int = 200
    requests: list[str | None] = field(default_factory=list)
    url: str = ""


@contextmanager
def package_index(wheel: bytes) -> Iterator[PackageIndex]:
    """Serve the wheel until the block ends."""
    index = PackageIndex(wheel)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/simple/tiny/":
                page = {"files": [{"filename": WHEEL, "url": f"../../files/{WHEEL}"}, {"filename": "x", "url": "y"}]}
                self._send(200, json.dumps(page).encode(), {"content-type": "application/vnd.pypi.simple.v1+json"})
            elif self.path == f"/files/{WHEEL}":
                self._send_wheel()
            else:
                self._send(404, b"", {})

        def _send_wheel(self) -> None:
            asked = self.headers.get("range")
            index.requests.append(asked)
            headers = {"etag": index.etag} if index.etag else {}
            guard = self.headers.get("if-range")
            if index.status != 200:
                self._send(index.status, b"", {})
            elif asked and index.takes_ranges and guard in {None, index.etag}:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                size = len(index.wheel)
                headers["content-range"] = f"bytes {start}-{size - 1}/{size}"
                self._send(206, index.wheel[start:], headers)
            else:
                self._send(200, index.wheel, headers)

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            is_wheel = self.path.startswith("/files/")
            cut = index.cuts.pop(0) if is_wheel and index.cuts else len(body)
            self.wfile.write(body[:cut])
            if cut < len(body):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that gives up in mid-answer is part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
