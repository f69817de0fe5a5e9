"""Measuring the engines unasked: once for the default model, when the node has nothing else to do.

Which engine is the fastest depends on processor and model, and nobody should have to know that there is a command for
it (`domovoi doctor --measure`). What is measured counts from the node's next start on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from inference_node.engines.engine import DEFAULT_OPTIONS
from inference_node.hardware.survey import survey
from inference_node.loading import calibration, ways
from inference_node.loading.quiet import QUIET_SHARE, others_share
from shared.errors import DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference_node.hardware.survey import Hardware
    from inference_node.loading.calibration import Calibrations
    from inference_node.loading.keeper import Keeper
    from inference_node.loading.loader import Loader
    from inference_node.models.models import ModelFile
    from inference_node.runs.turns import Turns

log = logging.getLogger(__name__)

# Whoever starts a node wants an answer first, and a machine is seldom quiet just then.
PAUSE_S = 60.0
# Whoever asks while it measures waits no longer than this for it to leave.
LOOK_EVERY_S = 0.1


class SelfCalibration:
    """Measures in a process beside the loaded engine. `model` is the default's setting; `others` says how busy the
    machine is with other programs, in cores, and may take a moment.
    """

    def __init__(
        self,
        keeper: Keeper,
        turns: Turns,
        loader: Loader,
        calibrations: Calibrations,
        model: str | None,
        *,
        pause_s: float = PAUSE_S,
        others: Callable[[], float] = others_share,
    ) -> None:
        self._keeper = keeper
        self._turns = turns
        self._loader = loader
        self._calibrations = calibrations
        self._model = model
        self._pause_s = pause_s
        self._others = others
        # What can't be measured is not tried again by this process.
        self._failed: set[tuple[str, Path]] = set()

    async def run(self) -> None:
        """Measure one engine after another. Ends with its task."""
        if len(self._loader.engines) == 1:
            # There is nothing to choose from.
            await asyncio.Event().wait()
        hardware = await asyncio.to_thread(survey, self._keeper.store.folder)
        while True:
            await asyncio.sleep(self._pause_s)
            if self._is_idle and (found := self._unmeasured(hardware)) is not None:
                await self._measure(*found, hardware)

    @property
    def _is_idle(self) -> bool:
        return self._keeper.state.state == "ready" and not self._turns.current and not self._turns.waiting

    def _unmeasured(self, hardware: Hardware) -> tuple[str, ModelFile] | None:
        try:
            model = self._keeper.store.find_configured(self._model)
        except DomovoiError:
            return None
        for engine in self._loader.engines:
            is_known = self._calibrations.find(engine, model, hardware) is not None
            if not is_known and (engine, model.path) not in self._failed:
                return engine, model
        return None

    async def _measure(self, engine: str, model: ModelFile, hardware: Hardware) -> None:
        if self._loader.memory_free() < ways.room_for_one(model.header, DEFAULT_OPTIONS):
            return
        if await asyncio.to_thread(self._others) > QUIET_SHARE:
            return
        measuring = asyncio.create_task(calibration.measure(self._loader.make_engine(engine), model))
        try:
            while self._is_idle and not measuring.done():
                await asyncio.wait({measuring}, timeout=LOOK_EVERY_S)
        finally:
            # Not idle any more, or the node ends: the engine is gone when this returns.
            measuring.cancel()
            await asyncio.wait({measuring})
        if measuring.cancelled():
            return
        if isinstance(error := measuring.exception(), DomovoiError):
            self._failed.add((engine, model.path))
            log.info("engine not measured", extra={"engine": engine, "model": model.name, "code": error.code})
            return
        speed = measuring.result()
        self._calibrations.keep(engine, model, hardware, speed)
        facts = {"prefill": round(speed.prefill), "decode": round(speed.decode)}
        log.info("engine measured", extra={"engine": engine, "model": model.name, **facts})
