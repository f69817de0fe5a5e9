"""A node as a process of its own, whose engine stamps its texts: `python -m tests.benchmarks.stamping_node DATA`."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

from inference_node.engines.child_engine import ChildEngine
from inference_node.main import serve
from inference_node.settings import NodeSettings
from tests.benchmarks.stamping_engine import MODULE


def main() -> None:
    settings = NodeSettings(Path(sys.argv[1]), port=0, server_url="http://localhost:9", name="Test PC", engine="native")
    make_engine = partial(ChildEngine, module=MODULE)
    asyncio.run(serve(settings, lambda url: print(url, flush=True), make_engine))  # noqa: T201  # the benchmark reads it


if __name__ == "__main__":
    main()
