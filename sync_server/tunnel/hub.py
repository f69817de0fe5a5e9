"""The nodes that have a session, by their ids, and the addresses at which they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Route, WebSocketRoute

from sync_server.tunnel import polling, websocket
from sync_server.tunnel.link import Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from sync_server.tunnel.polling import PollingCarrier


class TunnelHub:
    """`verify` takes a node's assertion and returns its id, or raises DomovoiError (rule K6).

    `on_status` gets a node's id with each STATUS, `on_change` the id when its transport came or went.
    """

    def __init__(
        self,
        verify: Callable[[str], Awaitable[bytes]],
        on_status: Callable[[bytes, bytes], None],
        on_change: Callable[[bytes], None],
    ) -> None:
        self.verify = verify
        self._on_status = on_status
        self._on_change = on_change
        self._links: dict[bytes, Link] = {}
        self._pollers: dict[bytes, PollingCarrier] = {}

    def find(self, node_id: bytes) -> Link | None:
        """Return the node's link while a transport carries its session."""
        link = self._links.get(node_id)
        return link if link is not None and link.is_connected else None

    def link(self, node_id: bytes) -> Link:
        """Return the link of a node that has logged in. There is one for each node, for as long as the server runs."""
        if (link := self._links.get(node_id)) is None:
            link = self._links[node_id] = Link(
                lambda status: self._on_status(node_id, status), lambda: self._on_change(node_id)
            )
        return link

    def poller(self, node_id: bytes) -> PollingCarrier | None:
        """Return the node's newest long polling."""
        return self._pollers.get(node_id)

    def keep_poller(self, node_id: bytes, carrier: PollingCarrier) -> None:
        """Long polling began; it takes the place of an older one."""
        self._pollers[node_id] = carrier

    def close(self) -> None:
        """End every session: the server stops."""
        for link in self._links.values():
            link.close()


def tunnel_routes(hub: TunnelHub) -> list[BaseRoute]:
    """Return the three addresses of rule N13 and N15."""

    async def serve(socket: WebSocket) -> None:
        await websocket.serve(socket, hub)

    async def up(request: Request) -> Response:
        return await polling.up(request, hub)

    async def down(request: Request) -> Response:
        return await polling.down(request, hub)

    return [
        WebSocketRoute("/tunnel", serve),
        Route("/tunnel/up", up, methods=["POST"]),
        Route("/tunnel/down", down, methods=["GET"]),
    ]
