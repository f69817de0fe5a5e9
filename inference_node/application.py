"""The node's two ASGI applications: loopback, for this PC, and remote, for calls that come through the tunnel."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from inference_node.endpoints import ENDPOINTS
from inference_node.guard import Guard
from inference_node.openapi import openapi_document
from inference_node.problems import LastDoor, on_domovoi_error, on_http_exception
from shared.errors import DomovoiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from inference_node.services import Services


def make_loopback(services: Services, port: int, origins: Iterable[str]) -> Starlette:
    """Return the application that listens on this machine alone, for the app's pages of these origins."""
    document = json.dumps(openapi_document(version("domovoi"))).encode()

    async def openapi(_: Request) -> Response:
        return Response(document, media_type="application/json")

    routes = [Route(endpoint.path, endpoint.handler, methods=[endpoint.method]) for endpoint in ENDPOINTS]
    routes.append(Route("/openapi.json", openapi))
    guard = Middleware(Guard, port=port, origins=tuple(origins))
    return _make(services, routes, [guard, Middleware(LastDoor)], is_remote=False)


def make_remote(services: Services) -> Starlette:
    """Return the application that the server forwards calls to. It has no address of its own."""
    routes = [
        Route(endpoint.path, endpoint.handler, methods=[endpoint.method])
        for endpoint in ENDPOINTS
        if endpoint.is_remote
    ]
    return _make(services, routes, [Middleware(LastDoor)], is_remote=True)


def _make(services: Services, routes: list[Route], middleware: list[Middleware], *, is_remote: bool) -> Starlette:
    application = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={DomovoiError: on_domovoi_error, HTTPException: on_http_exception},
    )
    application.state.services = services
    application.state.is_remote = is_remote
    return application
