"""How much of the machine a control group leaves to this process: containers, services and rented machines have one.

A limit of any group from this process up to the root holds, so the tightest counts. Version 2 has one tree, version 1
one for each resource. Inside a container the path that `/proc/self/cgroup` names may not be there: then what is
mounted is the group itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from inference_node.hardware.roots import Roots, number, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Version 1 writes "no limit" as the greatest number of pages.
UNLIMITED = 2**60


class Limits(Struct, frozen=True):
    """`cpus` is in cores, may be a fraction; `memory` and `memory_free` in bytes. None: no limit."""

    cpus: float | None = None
    memory: int | None = None
    memory_free: int | None = None


def read(roots: Roots) -> Limits:
    """Return the limits on this process."""
    top = roots.sys / "fs" / "cgroup"
    paths = _paths(text(roots.proc / "self" / "cgroup"))
    cpus = [_cpus_v2(folder) for folder in _upwards(top, paths.get("", ""))]
    memory = [_memory_v2(folder) for folder in _upwards(top, paths.get("", ""))]
    for mount in ("cpu", "cpu,cpuacct"):
        cpus += [_cpus_v1(folder) for folder in _upwards(top / mount, paths.get("cpu", ""))]
    memory += [_memory_v1(folder) for folder in _upwards(top / "memory", paths.get("memory", ""))]
    limits = [(limit, max(0, limit - used)) for limit, used in filter(None, memory)]
    return Limits(
        cpus=min(filter(None, cpus), default=None),
        memory=min((limit for limit, _ in limits), default=None),
        memory_free=min((free for _, free in limits), default=None),
    )


def _paths(listed: str) -> dict[str, str]:
    """Return this process's path by controller; "" is version 2."""
    paths: dict[str, str] = {}
    for line in listed.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        paths |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    return paths


def _upwards(top: Path, path: str) -> Iterator[Path]:
    folder = top / path
    while folder != top:
        yield folder
        folder = folder.parent
    yield top


def _cpus_v2(folder: Path) -> float | None:
    quota, _, period = text(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _cpus_v1(folder: Path) -> float | None:
    quota, period = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period else None


def _memory_v2(folder: Path) -> tuple[int, int] | None:
    limits = [limit for name in ("memory.max", "memory.high") if (limit := number(folder / name)) is not None]
    used = number(folder / "memory.current")
    return (min(limits), (used or 0) - _cache(folder)) if limits else None


def _memory_v1(folder: Path) -> tuple[int, int] | None:
    limit, used = number(folder / "memory.limit_in_bytes"), number(folder / "memory.usage_in_bytes")
    return (limit, (used or 0) - _cache(folder)) if limit is not None and limit < UNLIMITED else None


def _cache(folder: Path) -> int:
    """Files kept in memory count as used, and are let go when somebody needs the room."""
    lines = (line.split() for line in text(folder / "memory.stat").splitlines())
    figures = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}  # noqa: PLR2004
    return figures.get("total_inactive_file", figures.get("inactive_file", 0))
