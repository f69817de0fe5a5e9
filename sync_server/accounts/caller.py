"""Who calls, once that is proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


class Caller(NamedTuple):
    """A device and until when its token lets it in, in seconds since 1970."""

    account_id: bytes
    device_id: bytes
    expires_s: int


def address_of(connection: HTTPConnection) -> str:
    """Return where the caller is, as the server sees it; empty where that can't be told."""
    return connection.client.host if connection.client else ""
