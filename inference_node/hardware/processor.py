"""The processor: its name, what it can compute at once, and how many cores this process may use."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import psutil
from msgspec import Struct

from inference_node.hardware.roots import Roots, text

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

# What engines have kernels for, as Linux names it and as people do.
FEATURES = {
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512-VNNI",
    "amx_int8": "AMX",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "i8mm": "I8MM",
    "sve": "SVE",
}


class Processor(Struct, frozen=True):
    """`logical` cores are what the system counts, `usable` what this process may run on, `cores` the physical ones of
    those; `efficient` of them are slow ones beside fast ones. `features` is None where it can't be told.
    """

    model: str
    architecture: str
    features: list[str] | None
    logical: int
    usable: int
    cores: int
    efficient: int = 0


def read(roots: Roots, affinity: AbstractSet[int] | None = None) -> Processor:
    """Return the processor. `affinity` are the logical cores this process may use; None: the system is asked."""
    entries = _entries(text(roots.proc / "cpuinfo"))
    logical = sum(key == "processor" for key, _ in entries) or psutil.cpu_count() or 1
    if affinity is None:
        affinity = _affinity(logical)
    cores = _cores(roots.sys / "devices" / "system" / "cpu", affinity)
    slow = _numbers(text(roots.sys / "devices" / "cpu_atom" / "cpus"))
    return Processor(
        model=_model(entries, roots),
        architecture=platform.machine(),
        features=_features(entries),
        logical=logical,
        usable=len(affinity),
        cores=len(cores) or min(len(affinity), psutil.cpu_count(logical=False) or 1),
        efficient=sum(siblings <= slow for siblings in cores),
    )


def _entries(cpuinfo: str) -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in cpuinfo.splitlines() if ":" in line)
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _model(entries: list[tuple[str, str]], roots: Roots) -> str:
    # ARM boards name the board and not the processor.
    for wanted in ("model name", "Model", "Hardware"):
        for key, value in entries:
            if key == wanted and value:
                return " ".join(value.split())
    board = text(roots.proc / "device-tree" / "model")
    return board or platform.processor() or platform.machine() or "unknown"


def _features(entries: list[tuple[str, str]]) -> list[str] | None:
    for key, value in entries:
        if key in {"flags", "Features"}:
            flags = set(value.split())
            return [name for flag, name in FEATURES.items() if flag in flags]
    return None


def _cores(folder: Path, affinity: AbstractSet[int]) -> set[frozenset[int]]:
    """Return the physical cores, each as the logical ones it is made of."""
    siblings = {cpu: _numbers(text(folder / f"cpu{cpu}" / "topology" / "thread_siblings_list")) for cpu in affinity}
    return {frozenset(numbers & affinity) for numbers in siblings.values() if numbers}


def _numbers(listed: str) -> set[int]:
    """Return the numbers of a list such as "0-3,8"."""
    numbers: set[int] = set()
    for part in filter(None, listed.split(",")):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def _affinity(logical: int) -> set[int]:
    # Not on macOS and Windows.
    get = getattr(os, "sched_getaffinity", None)
    return set(get(0)) if get else set(range(logical))
