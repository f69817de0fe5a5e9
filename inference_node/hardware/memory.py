"""The machine's memory, whatever part of it this process may use."""

from __future__ import annotations

import psutil
from msgspec import Struct

from inference_node.hardware.roots import Roots, text


class Memory(Struct, frozen=True):
    """In bytes. `available` can be had without swapping."""

    total: int
    available: int


def read(roots: Roots) -> Memory:
    """Return the memory."""
    lines = (line.replace(":", " ").split() for line in text(roots.proc / "meminfo").splitlines())
    kibibytes = {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}
    if "MemTotal" in kibibytes and "MemAvailable" in kibibytes:
        return Memory(kibibytes["MemTotal"] * 1024, kibibytes["MemAvailable"] * 1024)
    now = psutil.virtual_memory()
    return Memory(now.total, now.available)
