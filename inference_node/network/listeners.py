"""The doors that are open on the network at home: one for each address, and no other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING, NamedTuple

import uvicorn

from inference_node import http_server
from inference_node.endpoints.guard import Guard

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

# After its address is gone, a door's open requests have this long to finish, seconds.
GRACE_S = 1
# Of apps on the network at home, at each address.
MOST_CONNECTIONS = 200
DEFAULT_PORT = {False: 80, True: 443}


class Place(NamedTuple):
    """Where to listen: an IP address and port, in the clear or with TLS, under the host names that are let in."""

    address: str
    port: int
    hosts: frozenset[str]
    is_tls: bool = False


class Listeners:
    """Serves `application` to pages of `origins` at the places that it is told, until it is told otherwise."""

    def __init__(self, application: ASGIApp, origins: Iterable[str], tls: ssl.SSLContext) -> None:
        self._application = application
        self._origins = frozenset(origins)
        self._tls = tls
        self._open: dict[Place, tuple[_Door, asyncio.Task[None]]] = {}
        self._refused: dict[Place, str] = {}

    @property
    def places(self) -> set[Place]:
        """Where somebody listens now."""
        return {place for place, (_, task) in self._open.items() if not task.done()}

    @property
    def refused(self) -> dict[Place, str]:
        """Where the system did not let us listen, and why."""
        return dict(self._refused)

    async def listen_at(self, places: Iterable[Place]) -> None:
        """Open and close doors until exactly these are open, except where the system refuses."""
        wanted = set(places)
        living = self.places
        await self._close(set(self._open) - (wanted & living))
        refused = {}
        for place in wanted - living:
            try:
                self._open[place] = self._start(place, _bound(place))
            except OSError as error:
                refused[place] = error.strerror or str(error)
                if self._refused.get(place) != refused[place]:
                    log.warning("can't listen on %s port %s: %s", place.address, place.port, refused[place])
        self._refused = refused

    async def close(self) -> None:
        """Close every door, with what is under way behind it."""
        await self._close(set(self._open))

    def _start(self, place: Place, listener: socket.socket) -> tuple[_Door, asyncio.Task[None]]:
        configuration = http_server.configuration(
            Guard(self._application, _spellings(place), self._origins),
            most_connections=MOST_CONNECTIONS,
            grace_s=GRACE_S,
        )
        configuration.load()
        # Loaded by us, so that a renewed certificate reaches a door that is open.
        configuration.ssl = self._tls if place.is_tls else None
        door = _Door(configuration)
        return door, asyncio.create_task(_serve(door, listener), name=f"door {place.address}")

    async def _close(self, places: set[Place]) -> None:
        closing = [self._open.pop(place) for place in places]
        for door, _ in closing:
            door.should_exit = True
        await asyncio.gather(*(task for _, task in closing), return_exceptions=True)


class _Door(uvicorn.Server):
    """uvicorn, which leaves signals to the node."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(door: _Door, listener: socket.socket) -> None:
    with listener:
        await door.serve(sockets=[listener])


def _bound(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on and every event takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((place.address, place.port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _spellings(place: Place) -> set[str]:
    """Return the Host headers of calls to this place."""
    spelt = {f"{host}:{place.port}" for host in place.hosts}
    return spelt | (set(place.hosts) if place.port == DEFAULT_PORT[place.is_tls] else set())
