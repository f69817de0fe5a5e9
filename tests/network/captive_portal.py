"""A captive portal: whatever is asked, of whomever, it answers 200 with a page of its own, with TLS too."""

from __future__ import annotations

import http.server
import ssl
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.nginx import Nginx

WORDS = "Please log in to this network."
PAGE = f"<!doctype html><title>Airport</title><p>{WORDS}".encode()
# Where it listens, and whether it speaks TLS there.
PORTS = {80: False, 443: True, 8443: True, 8461: False}


class _Handler(http.server.BaseHTTPRequestHandler):
    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(PAGE)

    do_GET = do_POST = do_PUT = do_OPTIONS = do_HEAD = answer

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Callers go when they like."""

    def speak_tls(self, front: Nginx) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(front.certificate, front.folder / "privkey.pem")
        # Its handshake waits for the caller's own thread.
        wrapped: socket.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.socket = wrapped


@contextmanager
def captive_portal(front: Nginx) -> Iterator[None]:
    """Answer to all addresses of the machine that the calling thread is on, with the certificate of `front`."""
    with ExitStack() as ends:
        for port, is_tls in PORTS.items():
            server = _Server(("0.0.0.0", port), _Handler)
            ends.callback(server.server_close)
            if is_tls:
                server.speak_tls(front)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            ends.callback(server.shutdown)
        yield
