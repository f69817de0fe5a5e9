"""How fast each engine is with each model here: measured once in two seconds, and remembered.

A measurement holds for one engine version, one model file and one machine; any of them changing asks for another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from inference_node import clock
from inference_node.engines.present import order_of, version_of
from inference_node.loading import measuring
from inference_node.loading.fitting import Candidate, fit
from shared import private_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inference_node.engines.engine import Engine
    from inference_node.engines.present import EngineReport
    from inference_node.hardware.survey import Hardware
    from inference_node.models.models import ModelFile

MEASURE_S = 2.0
PROMPT_WORDS = 64
MOST_TOKENS = 1024
# Older ones are of machines and models that are gone.
MOST_KEPT = 200


class Speed(Struct, frozen=True):
    """Tokens a second, reading and writing, and when it was measured, in milliseconds since 1970."""

    prefill: float
    decode: float
    measured_ms: int


class Calibrations:
    """The file `<data>/node/calibrations.json`. One that can't be read counts as empty: measuring again is cheap."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, engine: str, model: ModelFile, hardware: Hardware) -> Speed | None:
        """Return what was measured, if it still holds."""
        return self._all().get(_key(engine, model, hardware))

    def keep(self, engine: str, model: ModelFile, hardware: Hardware, speed: Speed) -> None:
        """Remember a measurement. Raises OSError."""
        speeds = self._all() | {_key(engine, model, hardware): speed}
        newest = sorted(speeds.items(), key=lambda entry: entry[1].measured_ms)[-MOST_KEPT:]
        private_files.make_folder(self._path.parent)
        private_files.replace(self._path, msgspec.json.encode(dict(newest)))

    def _all(self) -> dict[str, Speed]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Speed])
        except (OSError, msgspec.MsgspecError):
            return {}


async def measure(engine: Engine, model: ModelFile) -> Speed:
    """Load the model, have it write for two seconds, and unload. Raises what the engine raises."""
    try:
        await measuring.load(engine, model.path)
        # The first answer pays for memory that is touched for the first time.
        await measuring.time_one(engine, measuring.prompt_of(1, seed="warm", tokens=2))
        prompt = measuring.prompt_of(PROMPT_WORDS, seed="measure", tokens=MOST_TOKENS)
        timing = await measuring.time_one(engine, prompt, MEASURE_S)
        return Speed(timing.prefill, timing.decode, clock.now_ms())
    finally:
        await engine.unload()


def candidates(
    engines: Sequence[EngineReport], model: ModelFile, hardware: Hardware, calibrations: Calibrations
) -> list[Candidate]:
    """Return what `fitting.choose` chooses from: all engines, with what is known of each."""
    fitted = fit(model.header, hardware.memory_free)
    found = [(engine, calibrations.find(engine.name, model, hardware)) for engine in engines]
    return [
        Candidate(engine.name, order_of(engine.name), fitted, engine.problem, speed.decode if speed else None)
        for engine, speed in found
    ]


def in_order(engines: Sequence[str], model: ModelFile, hardware: Hardware, calibrations: Calibrations) -> list[str]:
    """Return the engines, the fastest first when all were measured with this model here; else as they are."""
    speeds = {engine: calibrations.find(engine, model, hardware) for engine in engines}
    known = {engine: speed.decode for engine, speed in speeds.items() if speed is not None}
    return sorted(engines, key=lambda engine: -known[engine]) if len(known) == len(speeds) else [*engines]


def _key(engine: str, model: ModelFile, hardware: Hardware) -> str:
    modified_ns = model.path.stat().st_mtime_ns
    return f"{engine} {version_of(engine)} {hardware.fingerprint} {model.path.name} {model.size} {modified_ns}"
