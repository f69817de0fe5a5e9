"""The ASGI application: addresses, guards and handlers of errors."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from shared.errors import DomovoiError
from sync_server.app_files import AppFiles, app_is_missing
from sync_server.endpoints import ENDPOINTS
from sync_server.guard import Addresses, Guard
from sync_server.nodes.relay import relay
from sync_server.openapi import openapi_document
from sync_server.problems import LastDoor, on_domovoi_error, on_http_exception
from sync_server.tunnel.hub import tunnel_routes

if TYPE_CHECKING:
    from starlette.requests import Request

    from sync_server.services import Services


def make_application(services: Services, addresses: Addresses) -> Starlette:
    """Return the application that serves the API, the relay, the tunnel and the app."""
    settings = services.settings
    application = Starlette(
        routes=_routes(services),
        middleware=[
            Middleware(Guard, addresses=addresses, node_ports=settings.node_ports, metrics=services.metrics),
            Middleware(LastDoor),
        ],
        exception_handlers={DomovoiError: on_domovoi_error, HTTPException: on_http_exception},
    )
    application.state.services = services
    return application


def _routes(services: Services) -> list[BaseRoute]:
    document = json.dumps(openapi_document(version("domovoi"))).encode()

    async def openapi(_: Request) -> Response:
        return Response(document, media_type="application/json")

    routes: list[BaseRoute] = [
        Route(endpoint.path, endpoint.handler, methods=[endpoint.method]) for endpoint in ENDPOINTS
    ]
    routes += [
        Route("/openapi.json", openapi),
        Route("/relay/{node_id}/{path:path}", relay, methods=["GET", "POST"]),
        *tunnel_routes(services.tunnels.transports),
    ]
    folder = services.settings.app_folder
    routes.append(Route("/{path:path}", app_is_missing) if folder is None else Mount("/", AppFiles(folder)))
    return routes
