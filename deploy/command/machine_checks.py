"""The findings about the machine, the engines and the models."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from deploy.command.findings import Finding
from inference_node import accelerator
from inference_node.loading.fitting import threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.command.configuration import Configuration
    from inference_node.engines.present import EngineReport
    from inference_node.hardware.graphics import Card
    from inference_node.hardware.survey import Hardware
    from inference_node.loading.fitting import Choice
    from shared.library_wire import LibraryModel

GB = 1e9
LOW_DISK_BYTES = 1e9
LOW_MEMORY_BYTES = 1e9
# A processor within so many degrees of where it slows itself down, or above this if it does not say where.
HOT_MARGIN = 10.0
HOT = 90.0
GPU_ENGINES = {"cuda", "tensorrt", "exllama"}


def hardware(machine: Hardware) -> Iterator[Finding]:
    """Yield what there is to compute with, and what limits it."""
    processor = machine.processor
    features = ", ".join(processor.features or []) or ("none that matter" if processor.features == [] else "not known")
    yield Finding(
        "processor",
        "ok",
        f"{processor.model}: {processor.cores} cores, {processor.usable} of {processor.logical} threads usable; "
        f"{features}; best with {threads(processor, machine.limits)} threads at work",
    )
    if machine.limits.cpus is not None:
        yield Finding("processor", "note", f"a control group allows {machine.limits.cpus:g} cores' worth of time")
    yield _memory(machine)
    if machine.temperature is not None:
        yield _temperature(machine.temperature.now, machine.temperature.critical)
    if machine.disk_free < LOW_DISK_BYTES:
        yield Finding("disk", "warning", f"{machine.disk_free / GB:.1f} GB free for models", "Make room.")
    else:
        yield Finding("disk", "ok", f"{machine.disk_free / GB:.0f} GB free for models")


def graphics(cards: list[Card], engines: list[EngineReport]) -> Iterator[Finding]:
    """Yield each card, and whether any engine can use it."""
    has_engine = any(not engine.problem for engine in engines if engine.name in GPU_ENGINES)
    for card in cards:
        memory = f", {card.memory / GB:.1f} GB" if card.memory else ""
        free = f" ({card.memory_free / GB:.1f} free)" if card.memory_free else ""
        capability = f", compute {card.capability}, driver {card.driver}" if card.capability else ""
        heat = f", {card.temperature} °C" if card.temperature is not None else ""
        what = f"{card.name}{memory}{free}{capability}{heat}"
        if card.problem:
            yield Finding("graphics", "warning", what, card.problem)
        elif card.capability and has_engine:
            yield Finding("graphics", "ok", what)
        else:
            yield Finding("graphics", "note", f"{what}; no engine here uses it, the processor computes")
    if not cards:
        yield Finding("graphics", "note", "no graphics card; the processor computes")


def engines(reports: list[EngineReport], setting: str | None) -> Iterator[Finding]:
    """Yield each engine, usable or why not, and accel."""
    for report in reports:
        name = f"{report.name} {report.version}".strip()
        yield Finding("engine", "note" if report.problem else "ok", f"{name}: {report.problem or 'usable'}")
    if setting is not None and setting not in {report.name for report in reports if not report.problem}:
        yield Finding(
            "engine", "stop", f"the setting `engine` names {setting}, which can't be used", "Take the setting out."
        )
    elif all(report.problem for report in reports):
        yield Finding("engine", "stop", "no engine can run", "Install Domovoi again: make up.")
    yield accel()


def accel() -> Finding:
    """Say whether the Rust library is there."""
    if accelerator.accelerated:
        return Finding("accel", "ok", "built, and used")
    if find_spec("accel._native") is None:
        return Finding("accel", "note", "not built; Python does its work", "With a Rust toolchain: make accel.")
    return Finding("accel", "warning", "built, and can't be loaded", "Build it again: make accel.")


def models(found: list[LibraryModel], configuration: Configuration, choice: Choice | None) -> Iterator[Finding]:
    """Yield each model, whether it fits, and what would run the default one."""
    for model in found:
        yield _model(model)
    default = next((model for model in found if model.is_default), None)
    if default is None and configuration.model is None:
        yield Finding("model", "note", "no model yet", "domovoi up fetches one, or: domovoi models pull.")
    elif default is None and choice is None:
        yield Finding(
            "model", "stop", f"the setting `model` names {configuration.model}, which can't be used", "Name another."
        )
    if choice is not None:
        size = f"context {choice.context:,}, {choice.slots} at once"
        advice = "" if choice.is_certain else "Measure: domovoi doctor --measure."
        yield Finding("choice", "ok" if choice.is_certain else "note", f"{choice.engine}, {size}: {choice.why}", advice)
    elif default is not None:
        yield Finding("choice", "warning", f"{default.name} can't be run here just now", "Choose a smaller model.")


def _memory(machine: Hardware) -> Finding:
    what = f"{machine.memory_free / GB:.1f} of {machine.memory_total / GB:.1f} GB free"
    if machine.limits.memory is not None:
        what += f"; a control group allows {machine.limits.memory / GB:.1f} of {machine.memory.total / GB:.1f} GB"
    if machine.memory_free < LOW_MEMORY_BYTES:
        return Finding("memory", "warning", what, "Close other programs, or give the service more.")
    return Finding("memory", "ok", what)


def _temperature(now: float, critical: float | None) -> Finding:
    what = f"processor at {now:.0f} °C" + (f", slows down at {critical:.0f}" if critical else "")
    if now > (critical - HOT_MARGIN if critical else HOT):
        return Finding("temperature", "warning", what, "Clear its fans and vents; hot, it computes more slowly.")
    return Finding("temperature", "ok", what)


def _model(model: LibraryModel) -> Finding:
    label = f"{model.name} ({model.file})" + (", the default" if model.is_default else "")
    if model.state == "damaged":
        return Finding("model", "warning", f"{label}: {model.detail}", f"domovoi models remove {model.file}")
    if model.state == "partial":
        done = f"{model.done_bytes / 1e6:.0f} of {model.size / 1e6:.0f} MB"
        return Finding("model", "note", f"{label}: {done} fetched", f"Go on: domovoi models pull {model.file}")
    if model.state == "arriving":
        return Finding("model", "note", f"{label}: {model.detail}")
    if model.fits == "too_large":
        return Finding(
            "model", "warning", f"{label}: too large for the free memory", "Close programs, or take a smaller one."
        )
    if model.fits == "tight":
        return Finding("model", "note", f"{label}: fits with a context of {model.fitting_context:,} tokens")
    return Finding("model", "ok", f"{label}: fits")
