"""Servers, each a process of its own, to be killed: `python -m tests.chaos.server DATA PORT PUBLIC_URL DATABASE`."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from sync_server.main import serve
from sync_server.settings import ServerSettings
from tests.chaos.nursery import LOG_FORMAT, nurse


def main() -> None:
    """Have servers, one after the other, over the same data."""
    data, port, public_url, database_url = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] or None
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = ServerSettings(data, port=port, public_url=public_url, database_url=database_url)
    nurse(lambda ready: asyncio.run(serve(settings, ready)))


if __name__ == "__main__":
    main()
