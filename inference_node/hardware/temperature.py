"""How hot the processor is, where the system tells: a hot one is slowed down, and measures worse than it is."""

from __future__ import annotations

from msgspec import Struct

from inference_node.hardware.roots import Roots, number, text

# What the sensors of processors call themselves: Intel, AMD, and the ARM boards.
PROCESSOR_SENSORS = {"coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "x86_pkg_temp"}


class Temperature(Struct, frozen=True):
    """Degrees Celsius; `critical` is where the processor slows itself down, None if it does not say."""

    now: float
    critical: float | None = None


def read(roots: Roots) -> Temperature | None:
    """Return the processor's hottest sensor; None where there is none."""
    found: list[Temperature] = []
    for monitor in sorted((roots.sys / "class" / "hwmon").glob("hwmon*")):
        if text(monitor / "name") in PROCESSOR_SENSORS:
            for sensor in monitor.glob("temp*_input"):
                critical = number(sensor.with_name(sensor.name.replace("_input", "_crit")))
                _add(found, number(sensor), critical)
    for zone in sorted((roots.sys / "class" / "thermal").glob("thermal_zone*")):
        if text(zone / "type") in PROCESSOR_SENSORS:
            _add(found, number(zone / "temp"), None)
    return max(found, key=lambda temperature: temperature.now, default=None)


def _add(found: list[Temperature], now: int | None, critical: int | None) -> None:
    if now is not None:
        found.append(Temperature(now / 1000, critical / 1000 if critical else None))
