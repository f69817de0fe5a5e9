"""HTTP of renewing a token while the server is away. The proof is the key's signature, so it takes no token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from inference_node.endpoints.content import read, respond
from shared.limits import MAX_JSON_BODY_BYTES
from shared.renewal_wire import Renewal, RenewalChallenge

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from inference_node.server.renewals import Renewals


class RenewalEndpoints:
    """The endpoints."""

    def __init__(self, renewals: Renewals) -> None:
        self._renewals = renewals

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/renewal/challenge", self.challenge, methods=["POST"]),
            Route("/v1/renewal", self.renew, methods=["POST"]),
        ]

    async def challenge(self, request: Request) -> Response:
        """Say what is to be signed."""
        return respond(request, RenewalChallenge(self._renewals.challenge()))

    async def renew(self, request: Request) -> Response:
        """Renew a token."""
        return respond(request, await self._renewals.renew(await read(request, Renewal, MAX_JSON_BODY_BYTES)))
