"""One machine after the other, as its own files describe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from inference_node.hardware import survey as module
from inference_node.hardware.limits import Limits
from inference_node.hardware.temperature import Temperature
from tests.inference_node.hardware.machines import (
    CONTAINER_V1,
    DESKTOP,
    GIB,
    LAPTOP,
    MACHINES,
    NO_DRIVER,
    RASPBERRY_PI,
    RTX_4070,
    UNLIMITED_CONTAINER_V1,
    VPS,
    WINDOWS,
    Nvml,
    lay,
    meminfo,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference_node.hardware.survey import Hardware

    Survey = Callable[..., Hardware]


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    def look(files: dict[str, str], affinity: set[int] | None = None, nvml: Nvml = NO_DRIVER) -> Hardware:
        count = files.get("proc/cpuinfo", "").count("processor")
        return module.survey(tmp_path / "models", lay(tmp_path, files), affinity or set(range(count)) or None, nvml)

    return look


def test_a_desktop_with_an_rtx_4070(survey: Survey) -> None:
    nvml = Nvml(RTX_4070)
    hardware = survey(DESKTOP, nvml=nvml)
    processor, [card] = hardware.processor, hardware.cards
    assert processor.model == "13th Gen Intel(R) Core(TM) i5-13400F"
    assert processor.features == ["AVX2", "FMA", "F16C", "AVX-VNNI"]
    assert (processor.logical, processor.usable, processor.cores, processor.efficient) == (16, 16, 10, 4)
    assert hardware.limits == Limits()
    assert (card.name, card.capability, card.driver) == ("NVIDIA GeForce RTX 4070", "8.9", "580.65.06")
    assert (card.memory, card.memory_free, card.temperature) == (12_878_610_432, 11_800_000_000, 41)
    assert card.problem is None
    assert hardware.temperature == Temperature(46.0, 100.0)
    assert hardware.memory_total == hardware.memory.total == 32_640_000 * 1024
    assert nvml.opened == 0


def test_a_card_without_its_driver_says_what_to_do(survey: Survey) -> None:
    [card] = survey(DESKTOP).cards
    assert (card.vendor, card.name) == ("NVIDIA", "NVIDIA graphics 0x2786")
    assert card.problem is not None
    assert "Install NVIDIA's driver" in card.problem


def test_a_card_that_is_lost_is_a_card_with_a_problem(survey: Survey) -> None:
    [card] = survey(DESKTOP, nvml=Nvml(RTX_4070 | {"lost": True})).cards
    assert card.problem is not None
    assert "GPU is lost" in card.problem


def test_a_card_without_a_thermometer(survey: Survey) -> None:
    cool = {key: value for key, value in RTX_4070.items() if key != "temperature"}
    assert survey(DESKTOP, nvml=Nvml(cool)).cards[0].temperature is None


def test_a_laptop_with_amd_graphics(survey: Survey) -> None:
    hardware = survey(LAPTOP)
    assert (hardware.processor.cores, hardware.processor.logical) == (8, 16)
    assert "AVX-512-VNNI" in (hardware.processor.features or [])
    [card] = hardware.cards
    assert (card.vendor, card.name, card.memory) == ("AMD", "AMD graphics 0x15bf", 512 * 1024**2)
    assert hardware.temperature == Temperature(71.5)


def test_cores_that_this_process_may_not_use_do_not_count(survey: Survey) -> None:
    processor = survey(LAPTOP, affinity={0, 1, 2}).processor
    assert (processor.logical, processor.usable, processor.cores) == (16, 3, 2)


def test_the_tightest_group_counts(survey: Survey) -> None:
    hardware = survey(VPS)
    assert hardware.limits == Limits(cpus=1.5, memory=3 * GIB, memory_free=2 * GIB)
    assert hardware.cores == 1.5
    assert hardware.memory_total == 3 * GIB
    assert hardware.memory_free == 2 * GIB


def test_groups_of_version_1(survey: Survey) -> None:
    hardware = survey(CONTAINER_V1)
    assert hardware.limits == Limits(cpus=4.0, memory=2 * GIB, memory_free=GIB + GIB // 2)
    assert hardware.cores == 4.0


def test_no_limit_in_version_1(survey: Survey) -> None:
    hardware = survey(UNLIMITED_CONTAINER_V1)
    assert hardware.limits == Limits()
    assert hardware.memory_free == 60_000_000 * 1024


def test_a_raspberry_pi(survey: Survey) -> None:
    hardware = survey(RASPBERRY_PI)
    assert hardware.processor.model == "Raspberry Pi 5 Model B Rev 1.0"
    assert hardware.processor.features == ["NEON", "NEON dot product"]
    assert hardware.processor.cores == 4
    assert hardware.temperature == Temperature(58.4)


def test_a_system_that_shows_no_files(survey: Survey) -> None:
    hardware = survey(WINDOWS)
    assert hardware.processor.features is None
    assert hardware.processor.model
    assert 1 <= hardware.processor.cores <= hardware.processor.logical == psutil.cpu_count()
    assert hardware.memory.total == psutil.virtual_memory().total
    assert (hardware.limits, hardware.temperature, hardware.cards) == (Limits(), None, [])


@pytest.mark.parametrize("name", MACHINES)
def test_files_that_hold_nonsense_never_raise(survey: Survey, name: str) -> None:
    for content in ("", "\n", "max", "-1", "a:b:c", "99999999999999999999999", "\x00\xff"):
        hardware = survey(dict.fromkeys(MACHINES[name], content), affinity={0})
        assert hardware.cores > 0
        assert hardware.memory_total > 0


def test_this_machine_is_seen(tmp_path: Path) -> None:
    hardware = module.survey(tmp_path)
    assert 1 <= hardware.processor.usable <= hardware.processor.logical
    assert 0 < hardware.memory_free <= hardware.memory_total
    assert hardware.disk_free > 0


def test_the_fingerprint_stays_while_the_machine_does(survey: Survey) -> None:
    first = survey(DESKTOP, nvml=Nvml(RTX_4070))
    warm = {**RTX_4070, "free": 1, "temperature": 80}
    busy = DESKTOP | {"proc/meminfo": meminfo(32_640_100, 1_000), "sys/class/hwmon/hwmon3/temp1_input": "99000"}
    assert survey(busy, nvml=Nvml(warm)).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"proc/meminfo": meminfo(16_000_000, 9_000_000)},
        {"sys/fs/cgroup/user.slice/cpu.max": "200000 100000\n"},
        {"proc/cpuinfo": DESKTOP["proc/cpuinfo"].replace("avx_vnni", "")},
    ],
)
def test_the_fingerprint_changes_with_the_machine(survey: Survey, change: dict[str, str]) -> None:
    before = survey(DESKTOP, nvml=Nvml(RTX_4070)).fingerprint
    assert survey(DESKTOP | change, nvml=Nvml(RTX_4070)).fingerprint != before


def test_the_fingerprint_changes_with_the_card_and_its_driver(survey: Survey) -> None:
    libraries = [NO_DRIVER, Nvml(RTX_4070), Nvml(RTX_4070, driver="600.1"), Nvml(RTX_4070 | {"total": 16 * GIB})]
    assert len({survey(DESKTOP, nvml=nvml).fingerprint for nvml in libraries}) == len(libraries)
