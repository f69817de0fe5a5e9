"""For those who look after the server: is it alive, is it ready, its numbers and its keys."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from msgspec import Struct
from sqlalchemy import literal, select
from starlette.responses import Response

from shared.errors import Code, DomovoiError
from sync_server.accounts.caller import address_of
from sync_server.content import answer
from sync_server.services import services_of

if TYPE_CHECKING:
    from starlette.requests import Request


class Health(Struct, frozen=True):
    """GET /healthz and /readyz."""

    status: str


async def healthz(request: Request) -> Response:
    """Say that the process is alive."""
    return answer(request, Health("alive"))


async def readyz(request: Request) -> Response:
    """Say that the database answers. Raises DomovoiError database_unavailable."""
    await services_of(request).database.one(select(literal(1)))
    return answer(request, Health("ready"))


async def metrics(request: Request) -> Response:
    """Return the numbers, to this machine alone."""
    try:
        is_local = ipaddress.ip_address(address_of(request)).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise DomovoiError(Code.NOT_FOUND)
    return Response(services_of(request).metrics.text(), media_type="text/plain; version=0.0.4")


async def key_set(request: Request) -> Response:
    """Return the keys that verify this server's tokens."""
    return answer(request, services_of(request).keys.key_set())
