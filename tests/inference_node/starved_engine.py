"""The engine process with little memory: `python -m tests.inference_node.starved_engine PARENT`."""

from __future__ import annotations

import importlib
import resource
import sys

import psutil

from inference_node.engines.process import ENGINES, main

# Not enough for a model of 90 MB.
ROOM_BYTES = 72 * 2**20

if __name__ == "__main__":
    for module, _ in ENGINES.values():
        try:
            importlib.import_module(module)
        except ImportError:
            continue
    most = psutil.Process().memory_info().vms + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    main(int(sys.argv[1]))
