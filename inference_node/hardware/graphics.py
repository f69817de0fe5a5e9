"""Graphics cards: NVIDIA's through its own library, which comes with the driver; others by name from the PCI bus."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pynvml  # type: ignore[import-untyped]
from msgspec import Struct

from inference_node.hardware.roots import Roots, number, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NVIDIA = "0x10de"
VENDORS = {NVIDIA: "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
# PCI classes 0x0300 and 0x0302: something that draws or computes graphics.
DISPLAY_CLASS = "0x03"


class Card(Struct, frozen=True):
    """One graphics card. Bytes and degrees Celsius; what is not known is None.

    `capability` is NVIDIA's compute capability, "8.9" for an RTX 4070. `problem` says why it can't be used.
    """

    vendor: str
    name: str
    memory: int | None = None
    memory_free: int | None = None
    capability: str | None = None
    driver: str | None = None
    temperature: int | None = None
    identity: str | None = None
    problem: str | None = None


def read(roots: Roots, nvml: Any = pynvml) -> list[Card]:
    """Return the cards. `nvml` is the module `pynvml` or what acts like it."""
    nvidia, problem = _nvidia(nvml)
    others = list(_on_the_bus(roots.sys / "bus" / "pci" / "devices"))
    if not nvidia:
        reason = f"Its driver does not answer ({problem}). Install NVIDIA's driver, then start again."
        nvidia = [Card("NVIDIA", name, problem=reason) for vendor, name, _ in others if vendor == NVIDIA]
    return nvidia + [Card(VENDORS[vendor], name, memory) for vendor, name, memory in others if vendor != NVIDIA]


def _nvidia(nvml: Any) -> tuple[list[Card], str]:
    """Return NVIDIA's cards, or else why there are none."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return [], str(error)
    try:
        driver = str(nvml.nvmlSystemGetDriverVersion())
        return [_card(nvml, index, driver) for index in range(nvml.nvmlDeviceGetCount())], "no card"
    except nvml.NVMLError as error:
        return [], str(error)
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _card(nvml: Any, index: int, driver: str) -> Card:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Card(
        vendor="NVIDIA",
        name=str(nvml.nvmlDeviceGetName(handle)),
        memory=int(memory.total),
        memory_free=int(memory.free),
        capability=f"{major}.{minor}",
        driver=driver,
        temperature=_temperature(nvml, handle),
        identity=str(nvml.nvmlDeviceGetUUID(handle)),
    )


def _temperature(nvml: Any, handle: Any) -> int | None:
    # The first is not in older drivers, the second goes away with CUDA 14.
    for ask in ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"):
        with contextlib.suppress(nvml.NVMLError, AttributeError):
            return int(getattr(nvml, ask)(handle, nvml.NVML_TEMPERATURE_GPU))
    return None


def _on_the_bus(devices: Path) -> Iterator[tuple[str, str, int | None]]:
    """Yield (vendor, name, memory) of graphics on the PCI bus; AMD's driver tells the memory."""
    for device in sorted(devices.iterdir()) if devices.is_dir() else []:
        vendor = text(device / "vendor")
        if text(device / "class").startswith(DISPLAY_CLASS) and vendor in VENDORS:
            name = text(device / "product_name") or f"{VENDORS[vendor]} graphics {text(device / 'device')}"
            yield vendor, name, number(device / "mem_info_vram_total")
