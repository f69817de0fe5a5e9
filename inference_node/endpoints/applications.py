"""The node's two ASGI applications: *loopback* for this PC, *remote* for what comes through the tunnel or the LAN.

LAN and relay never see the first. The second tells a key and opens what was sealed to it; inside are the paths that the
loopback application has for people's devices, and nothing that takes an API key or shows metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from inference_node import metrics
from inference_node.endpoints import library as model_endpoints
from inference_node.endpoints.answers import Answers
from inference_node.endpoints.content import HANDLERS, respond
from inference_node.endpoints.door import bearer
from inference_node.endpoints.guard import Guard
from inference_node.endpoints.keys import KeyEndpoints
from inference_node.endpoints.loading import LoadingApi
from inference_node.endpoints.network import NetworkApi
from inference_node.endpoints.openapi import document
from inference_node.endpoints.renewal import RenewalEndpoints
from inference_node.endpoints.sealed import SealedCalls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from inference_node.endpoints.api_keys import ApiKeys
    from inference_node.endpoints.door import Door
    from inference_node.endpoints.library import Models
    from inference_node.endpoints.status import Status
    from inference_node.loading.keeper import Keeper
    from inference_node.log.claims import Claims
    from inference_node.openai.api import OpenAiApi
    from inference_node.runs.runs import Runs
    from inference_node.server.call_epochs import CallEpochs
    from inference_node.server.renewals import Renewals
    from inference_node.server.sealing_keys import SealingKeyRing


class Services(NamedTuple):
    """What the endpoints use."""

    node_id: bytes
    runs: Runs
    keeper: Keeper
    claims: Claims
    door: Door
    renewals: Renewals
    status: Status
    keys: ApiKeys
    openai: OpenAiApi
    models: Models
    sealing_keys: SealingKeyRing
    epochs: CallEpochs


def loopback(services: Services, hosts: Iterable[str], origins: Iterable[str]) -> ASGIApp:
    """Return the application for this PC, which answers to these hosts and to pages of these origins."""

    routes = [
        *_device_routes(services),
        *services.openai.routes(),
        Route("/metrics", _Metrics(services.status).show, methods=["GET"]),
        Route("/openapi.json", _openapi, methods=["GET"]),
    ]
    return Guard(services.door.calls.watched(_application(routes)), hosts, origins)


def remote(services: Services) -> ASGIApp:
    """Return the application for LAN and tunnel; hosts and origins are checked where calls come in."""
    inside = services.door.calls.watched(_application(_device_routes(services)))
    sealed = SealedCalls(inside, services.node_id.hex(), services.sealing_keys, services.epochs)
    return _application([_healthz(services), *sealed.routes()])


def _application(routes: list[Route]) -> Starlette:
    application = Starlette(routes=routes, exception_handlers=HANDLERS)
    # An address that is not there is not there: Starlette would send the caller on from `/v1/status/`.
    application.router.redirect_slashes = False
    return application


def _healthz(services: Services) -> Route:
    async def healthz(request: Request) -> Response:
        return respond(request, services.status.health())

    return Route("/healthz", healthz, methods=["GET"])


def _device_routes(services: Services) -> list[Route]:
    async def authenticate(request: Request) -> bytes:
        return await services.door.account(request, bearer(request))

    async def authenticate_manager(request: Request) -> bytes:
        return await services.door.manager(request, bearer(request))

    async def status(request: Request) -> Response:
        await authenticate(request)
        return respond(request, services.status.now())

    answers = Answers(services.runs, services.claims, services.node_id, authenticate)
    return [
        _healthz(services),
        Route("/v1/status", status, methods=["GET"]),
        *answers.routes(),
        *LoadingApi(services.keeper, services.status, authenticate_manager).routes(),
        *NetworkApi(services.status, authenticate_manager).routes(),
        *model_endpoints.routes(services.models, authenticate, authenticate_manager),
        *KeyEndpoints(services.keys, authenticate).routes(),
        *RenewalEndpoints(services.renewals).routes(),
    ]


class _Metrics:
    def __init__(self, status: Status) -> None:
        self._status = status

    async def show(self, request: Request) -> Response:
        self._status.measure()
        return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _openapi(request: Request) -> Response:
    return Response(document(), media_type="application/json")
