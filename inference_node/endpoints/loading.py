"""/v1/library/load and /v1/library/unload: which models are in memory, for the app. How it goes, the status tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from inference_node.endpoints.content import read, respond
from shared.library_wire import ModelChoice
from shared.limits import MAX_JSON_BODY_BYTES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from inference_node.endpoints.answers import Authenticate
    from inference_node.endpoints.status import Status
    from inference_node.loading.keeper import Keeper


class LoadingApi:
    """The endpoints, for those who manage the node.

    Both answer at once with the node's status; memory changes when running answers allow it.
    """

    def __init__(self, keeper: Keeper, status: Status, authenticate_manager: Authenticate) -> None:
        self._keeper = keeper
        self._status = status
        self._authenticate_manager = authenticate_manager

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/library/load", self.load, methods=["POST"]),
            Route("/v1/library/unload", self.unload, methods=["POST"]),
        ]

    async def load(self, request: Request) -> Response:
        """Load a model, in the best way again if it had to step down."""
        await self._authenticate_manager(request)
        choice = await read(request, ModelChoice, MAX_JSON_BODY_BYTES)
        self._keeper.load(choice.model)
        return respond(request, self._status.now())

    async def unload(self, request: Request) -> Response:
        """Unload a model; the next request for it loads it again."""
        await self._authenticate_manager(request)
        choice = await read(request, ModelChoice, MAX_JSON_BODY_BYTES)
        self._keeper.unload(choice.model)
        return respond(request, self._status.now())
