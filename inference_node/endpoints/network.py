"""/v1/local-network: whether the node answers on the network at home, as its manager chooses in the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from inference_node.endpoints.content import read, respond
from shared.candidates import LocalNetworkChoice
from shared.limits import MAX_JSON_BODY_BYTES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from inference_node.endpoints.answers import Authenticate
    from inference_node.endpoints.status import Status


class NetworkApi:
    """The endpoint, for those who manage the node."""

    def __init__(self, status: Status, authenticate_manager: Authenticate) -> None:
        self._status = status
        self._authenticate_manager = authenticate_manager

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/v1/local-network", self.choose, methods=["POST"])]

    async def choose(self, request: Request) -> Response:
        """Open or close the node's doors there. Where it is found then, its status tells."""
        await self._authenticate_manager(request)
        choice = await read(request, LocalNetworkChoice, MAX_JSON_BODY_BYTES)
        self._status.network.allow(is_on=choice.is_on)
        return respond(request, self._status.now())
