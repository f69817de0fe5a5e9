"""What the composition root tells the server. The server reads no environment and no configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class ServerSettings:
    """Settings of one server process.

    `database_url` None is SQLite at `<data>/server.db`; `app_folder` is the built app to serve, None serves the API
    alone; `public_url` is the address people open, None is `http://localhost:<port>`; `port` 0 takes a free one;
    `node_ports` are those at which pages may call nodes, in the clear (sealed) and with TLS.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8460
    database_url: str | None = None
    app_folder: Path | None = None
    public_url: str | None = None
    node_ports: tuple[int, int] = (8461, 8443)
