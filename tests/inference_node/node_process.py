"""A node as a process for tests: `python -m tests.inference_node.node_process DATA SERVER_URL`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from inference_node.main import serve
from inference_node.settings import NodeSettings


def main() -> None:
    """Serve until killed; the first line of output is the address."""
    data, server_url = sys.argv[1:]
    settings = NodeSettings(Path(data), port=0, server_url=server_url, name="Study")
    asyncio.run(serve(settings, lambda address: print(address, flush=True)))  # noqa: T201


if __name__ == "__main__":
    main()
