"""The parts of a running server, as its endpoints find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from sync_server.accounts.accounts import Accounts
    from sync_server.accounts.passwords import Passwords
    from sync_server.accounts.refresh import RefreshTokens
    from sync_server.accounts.signing_keys import SigningKeys
    from sync_server.blobs.blob_files import BlobFiles
    from sync_server.blobs.blobs import Blobs
    from sync_server.log.news import Hub
    from sync_server.metrics import Metrics
    from sync_server.nodes.node_login import NodeLogins
    from sync_server.nodes.pairing import Pairings
    from sync_server.nodes.tunnels import Tunnels
    from sync_server.open_streams import OpenStreams
    from sync_server.settings import ServerSettings
    from sync_server.store.database import Database


@dataclass(frozen=True)
class Services:
    """Made once by the composition root."""

    settings: ServerSettings
    database: Database
    keys: SigningKeys
    passwords: Passwords
    accounts: Accounts
    refresh_tokens: RefreshTokens
    node_logins: NodeLogins
    pairings: Pairings
    hub: Hub
    streams: OpenStreams
    tunnels: Tunnels
    metrics: Metrics
    blob_files: BlobFiles
    blobs: Blobs


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that serves this request."""
    services: Services = connection.app.state.services
    return services
