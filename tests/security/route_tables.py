"""The route tables of the applications that run: what can be called at all, read from them and not from a list."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from inference_node.endpoints import applications
from sync_server import application

if TYPE_CHECKING:
    from collections.abc import Iterator

# `sealed` is what stands inside the calls that `remote` opens.
Place = Literal["server", "loopback", "remote", "sealed"]
# Paths that one application alone has.
ONLY_AT: dict[str, Place] = {"/metrics": "loopback", "/v1/sealed": "remote"}


class Endpoint(NamedTuple):
    """One method of one path of one application. A WebSocket's method is called WEBSOCKET, a mount's MOUNT."""

    place: Place
    method: str
    path: str


class RouteTables:
    """The applications made while they were watched."""

    def __init__(self) -> None:
        self._made: list[Starlette] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note every application that server and node make in here."""

        def make(*arguments: Any, **settings: Any) -> Starlette:
            self._made.append(Starlette(*arguments, **settings))
            return self._made[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(application, "Starlette", make)
            patch.setattr(applications, "Starlette", make)
            yield

    def endpoints(self) -> list[Endpoint]:
        """Return everything that can be called. HEAD is what GET is."""
        return [endpoint for made in self._made for route in made.routes for endpoint in _of(_place(made), route)]


def _place(made: Starlette) -> Place:
    if hasattr(made.state, "services"):
        return "server"
    paths = {getattr(route, "path", "") for route in made.routes}
    return next((place for path, place in ONLY_AT.items() if path in paths), "sealed")


def _of(place: Place, route: BaseRoute) -> list[Endpoint]:
    match route:
        case Route(methods=methods, path=path):
            return [Endpoint(place, method, path) for method in sorted((methods or {"GET"}) - {"HEAD"})]
        case WebSocketRoute(path=path):
            return [Endpoint(place, "WEBSOCKET", path)]
        case Mount(path=path):
            return [Endpoint(place, "MOUNT", path or "/")]
    raise AssertionError(f"a route of an unknown kind: {route}")
