"""A node as a process of its own, to be killed: `python -m tests.inference_node.node_process DATA`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from inference_node.main import serve
from inference_node.runs import runs
from inference_node.settings import NodeSettings

# Texts are written down so often, in seconds, so that a test need not wait long for it.
CHECKPOINT_S = 0.1


def main() -> None:
    runs.CHECKPOINT_S = CHECKPOINT_S
    data = Path(sys.argv[1])
    settings = NodeSettings(data, port=0, server_url="http://localhost:9", name="Test PC")
    asyncio.run(serve(settings, lambda url: print(url, flush=True)))  # noqa: T201  # the test reads it


if __name__ == "__main__":
    main()
