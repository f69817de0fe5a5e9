"""The whole machine at once, and the fingerprint under which measurements on it are remembered."""

from __future__ import annotations

import hashlib
import platform
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pynvml  # type: ignore[import-untyped]
from msgspec import Struct

from inference_node.hardware import graphics, limits, memory, processor, temperature
from inference_node.hardware.graphics import Card
from inference_node.hardware.limits import Limits
from inference_node.hardware.memory import Memory
from inference_node.hardware.processor import Processor
from inference_node.hardware.roots import THIS_MACHINE, Roots
from inference_node.hardware.temperature import Temperature

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

GIB = 1024**3


class Hardware(Struct, frozen=True):
    """What there is. `disk_free` is in bytes, where models are kept."""

    system: str
    processor: Processor
    memory: Memory
    limits: Limits
    cards: list[Card]
    temperature: Temperature | None
    disk_free: int

    @property
    def memory_total(self) -> int:
        """Bytes of memory that this process can ever have."""
        return min(self.memory.total, self.limits.memory or self.memory.total)

    @property
    def memory_free(self) -> int:
        """Bytes of memory that this process can have now."""
        if self.limits.memory_free is None:
            return self.memory.available
        return min(self.memory.available, self.limits.memory_free)

    @property
    def cores(self) -> float:
        """Physical cores' worth of time that this process can have."""
        return min(self.processor.cores, self.limits.cpus or self.processor.cores)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when a measurement made here would no longer hold.

        Not what is free or warm just now; the total memory in whole GiB, as kernels differ in what they keep.
        """
        stable = (
            self.processor,
            round(self.memory_total / GIB),
            self.limits.cpus,
            [(card.name, card.identity, card.memory, card.driver) for card in self.cards],
        )
        return hashlib.sha256(msgspec.json.encode(stable)).hexdigest()[:16]


def survey(
    models: Path, roots: Roots = THIS_MACHINE, affinity: AbstractSet[int] | None = None, nvml: Any = pynvml
) -> Hardware:
    """Look at everything. Takes milliseconds, or a second where a graphics driver wakes its card."""
    return Hardware(
        system=platform.platform(terse=True),
        processor=processor.read(roots, affinity),
        memory=memory.read(roots),
        limits=limits.read(roots),
        cards=graphics.read(roots, nvml),
        temperature=temperature.read(roots),
        disk_free=shutil.disk_usage(_existing(models)).free,
    )


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
