"""What every request must pass and every response carries: exact hosts and origins, and security headers.

Exact sets, because a name that a stranger controls may resolve to this machine (DNS rebinding), and because a page
of another origin may send requests although it can't read the answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from shared.errors import Code, DomovoiError
from sync_server.problems import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sync_server.metrics import Metrics

_READING = {"GET", "HEAD", "OPTIONS"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Addresses:
    """The host headers and origins under which this server is itself."""

    def __init__(self, port: int, public_url: str | None) -> None:
        urls = [f"http://{name}:{port}" for name in _LOCAL_NAMES]
        if public_url is not None:
            urls.append(public_url)
        self.hosts: set[str] = set()
        self.origins: set[str] = set()
        for url in urls:
            parts = urlsplit(url)
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
            default = _DEFAULT_PORTS.get(parts.scheme)
            if parts.port in {None, default}:
                self.hosts |= {host, f"{host}:{default}"}
                self.origins.add(f"{parts.scheme}://{host}")
            else:
                self.hosts.add(f"{host}:{parts.port}")
                self.origins.add(f"{parts.scheme}://{host}:{parts.port}")


class Guard:
    """ASGI middleware; pure, because Starlette's base class breaks streaming."""

    def __init__(self, app: ASGIApp, addresses: Addresses, node_ports: tuple[int, int], metrics: Metrics) -> None:
        self._app = app
        self._addresses = addresses
        self._metrics = metrics
        self._headers = _security_headers(*node_ports)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def finish(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers["strict-transport-security"] = "max-age=31536000"
                self._metrics.requests.labels(scope["method"], message["status"]).inc()
            await send(message)

        if self._is_allowed(scope):
            await self._app(scope, receive, finish)
        else:
            await problem_response(DomovoiError(Code.FORBIDDEN_ORIGIN))(scope, receive, finish)

    def _is_allowed(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        if headers.getlist("host") != [headers.get("host")] or headers["host"].lower() not in self._addresses.hosts:
            return False
        is_reading = scope["type"] == "http" and scope["method"] in _READING
        origins = headers.getlist("origin")
        return is_reading or not origins or (len(origins) == 1 and origins[0] in self._addresses.origins)


def _security_headers(node_port: int, node_tls_port: int) -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "script-src": "'self' 'wasm-unsafe-eval'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "font-src": "'self'",
        # Any host: the app is cached and a node's address changes. That is why nothing else may be loose.
        "connect-src": f"'self' http://localhost:{node_port} http://*:{node_port} https://*:{node_tls_port}",
        "worker-src": "'self' blob:",
        "manifest-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "x-frame-options": "DENY",
    }
