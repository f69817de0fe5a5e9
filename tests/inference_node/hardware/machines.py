"""Machines as Linux shows them, written into a folder: only the files that are read, with what they hold there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from inference_node.hardware.roots import Roots

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1024**3
UNLIMITED_V1 = "9223372036854771712\n"


def lay(folder: Path, files: dict[str, str]) -> Roots:
    """Write the files ("proc/…", "sys/…") and return where they are."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return Roots(folder / "proc", folder / "sys")


def cpuinfo(model: str, count: int, flags: str) -> str:
    return "\n".join(
        f"processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: {model}\nflags\t\t: fpu sse {flags}\n"
        for n in range(count)
    )


def siblings(*cores: str) -> dict[str, str]:
    """Return the topology: each core as the list of its logical ones, "0-1" or "3"."""
    files: dict[str, str] = {}
    for core in cores:
        first, _, last = core.partition("-")
        for cpu in range(int(first), int(last or first) + 1):
            files[f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"] = f"{core}\n"
    return files


def meminfo(total_kib: int, available_kib: int) -> str:
    return f"MemTotal:       {total_kib} kB\nMemFree:        1000 kB\nMemAvailable:   {available_kib} kB\n"


# A desktop with a 6 + 4 core Intel processor and an RTX 4070; the display hangs on the processor's own graphics.
DESKTOP = {
    "proc/cpuinfo": cpuinfo("13th Gen Intel(R) Core(TM) i5-13400F", 16, "avx2 fma f16c avx_vnni"),
    **siblings("0-1", "2-3", "4-5", "6-7", "8-9", "10-11", "12", "13", "14", "15"),
    "sys/devices/cpu_core/cpus": "0-11\n",
    "sys/devices/cpu_atom/cpus": "12-15\n",
    "proc/meminfo": meminfo(32_640_000, 27_000_000),
    "proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
    "sys/fs/cgroup/user.slice/memory.max": "max\n",
    "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
    "sys/class/hwmon/hwmon0/name": "nvme\n",
    "sys/class/hwmon/hwmon0/temp1_input": "99000\n",
    "sys/class/hwmon/hwmon3/name": "coretemp\n",
    "sys/class/hwmon/hwmon3/temp1_input": "46000\n",
    "sys/class/hwmon/hwmon3/temp1_crit": "100000\n",
    "sys/class/hwmon/hwmon3/temp2_input": "44000\n",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.0/device": "0x2786\n",
    "sys/bus/pci/devices/0000:00:1f.3/class": "0x040300\n",
    "sys/bus/pci/devices/0000:00:1f.3/vendor": "0x8086\n",
}

# A laptop with AMD graphics of its own.
LAPTOP = {
    "proc/cpuinfo": cpuinfo("AMD Ryzen 7 7840U w/ Radeon 780M Graphics", 16, "avx2 fma f16c avx512f avx512_vnni"),
    **siblings(*(f"{n}-{n + 1}" for n in range(0, 16, 2))),
    "proc/meminfo": meminfo(15_600_000, 9_000_000),
    "proc/self/cgroup": "0::/\n",
    "sys/class/hwmon/hwmon1/name": "k10temp\n",
    "sys/class/hwmon/hwmon1/temp1_input": "71500\n",
    "sys/bus/pci/devices/0000:c1:00.0/class": "0x030000\n",
    "sys/bus/pci/devices/0000:c1:00.0/vendor": "0x1002\n",
    "sys/bus/pci/devices/0000:c1:00.0/device": "0x15bf\n",
    "sys/bus/pci/devices/0000:c1:00.0/mem_info_vram_total": "536870912\n",
}

# A rented machine with two cores, where the service's own group allows one and a half, and 3 GiB.
VPS = {
    "proc/cpuinfo": cpuinfo("AMD EPYC-Rome Processor", 2, "avx2 fma f16c"),
    **siblings("0", "1"),
    "proc/meminfo": meminfo(4_000_000, 3_600_000),
    "proc/self/cgroup": "0::/system.slice/domovoi-node.service\n",
    "sys/fs/cgroup/system.slice/domovoi-node.service/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/system.slice/domovoi-node.service/memory.max": "max\n",
    "sys/fs/cgroup/system.slice/memory.max": f"{3 * GIB}\n",
    "sys/fs/cgroup/system.slice/memory.current": f"{2 * GIB}\n",
    "sys/fs/cgroup/system.slice/memory.stat": f"anon 500\ninactive_file {GIB}\nactive_file 7\n",
}

# An older container: version 1, and a path from outside that is not there inside.
CONTAINER_V1 = {
    "proc/cpuinfo": cpuinfo("Intel(R) Xeon(R) CPU E5-2680 v3 @ 2.50GHz", 8, "avx2 fma f16c"),
    **siblings("0", "1", "2", "3", "4", "5", "6", "7"),
    "proc/meminfo": meminfo(64_000_000, 60_000_000),
    "proc/self/cgroup": "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
    "sys/fs/cgroup/memory/memory.stat": f"cache 5\ntotal_inactive_file {GIB // 2}\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
}

UNLIMITED_CONTAINER_V1 = CONTAINER_V1 | {
    "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED_V1,
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
}

RASPBERRY_PI = {
    "proc/cpuinfo": "\n".join(
        f"processor\t: {n}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 asimdhp asimddp\n" for n in range(4)
    )
    + "\nRevision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
    **siblings("0", "1", "2", "3"),
    "proc/meminfo": meminfo(8_200_000, 7_000_000),
    "proc/self/cgroup": "0::/\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "58400\n",
}

# Not Linux: neither folder is there.
WINDOWS: dict[str, str] = {}

MACHINES = {
    "desktop": DESKTOP,
    "laptop": LAPTOP,
    "vps": VPS,
    "container v1": CONTAINER_V1,
    "raspberry pi": RASPBERRY_PI,
    "windows": WINDOWS,
}


class NvmlError(Exception):
    """What NVIDIA's library raises."""


class Nvml:
    """NVIDIA's library, with these cards, or without its driver."""

    NVMLError = NvmlError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *cards: dict[str, Any], driver: str | None = "580.65.06") -> None:
        self._cards = cards
        self._driver = driver
        self.opened = 0

    def nvmlInit(self) -> None:  # the library's names
        if self._driver is None:
            raise NvmlError("NVML Shared Library Not Found")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return str(self._driver)

    def nvmlDeviceGetCount(self) -> int:
        return len(self._cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return self._cards[index]

    def nvmlDeviceGetMemoryInfo(self, card: dict[str, Any]) -> SimpleNamespace:
        if card.get("lost"):
            raise NvmlError("GPU is lost")
        return SimpleNamespace(total=card["total"], free=card["free"])

    def nvmlDeviceGetCudaComputeCapability(self, card: dict[str, Any]) -> tuple[int, int]:
        major, minor = card["capability"]
        return major, minor

    def nvmlDeviceGetName(self, card: dict[str, Any]) -> str:
        return str(card["name"])

    def nvmlDeviceGetUUID(self, card: dict[str, Any]) -> str:
        return str(card["uuid"])

    def nvmlDeviceGetTemperature(self, card: dict[str, Any], sensor: int) -> int:
        if "temperature" not in card:
            raise NvmlError("Not Supported")
        return int(card["temperature"])


RTX_4070 = {
    "name": "NVIDIA GeForce RTX 4070",
    "total": 12_878_610_432,
    "free": 11_800_000_000,
    "capability": (8, 9),
    "uuid": "GPU-2f3c",
    "temperature": 41,
}
NO_DRIVER = Nvml(driver=None)
