"""What the node tells of models that are on their way, could not be loaded, or run otherwise than they might."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from msgspec import structs

from inference_node import metrics
from shared.node_status import ModelStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference_node.models.models import ModelFile
    from shared.errors import DomovoiError
    from shared.node_status import StepDown

log = logging.getLogger(__name__)

MOST_STEPS = 16
# Between two words on how far a load is, seconds.
TELL_EVERY_S = 0.5


class Board:
    """Models that are not ready, by path, and the latest steps down. `on_change` is called when there is news."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.on_change = on_change
        self.models: dict[Path, ModelStatus] = {}
        self.steps: list[StepDown] = []
        self._told_s = 0.0

    def wait(self, model: ModelFile) -> None:
        """Say that a model waits for its place in memory."""
        self._put(model, ModelStatus(model.name, "waiting"))

    def progress(self, model: ModelFile, engine: str, done: int, total: int) -> None:
        """Say how far a model is loaded, in bytes."""
        is_new = model.path not in self.models or self.models[model.path].state != "loading"
        self.models[model.path] = ModelStatus(model.name, "loading", engine=engine, done=done, total=total)
        if is_new or time.monotonic() - self._told_s > TELL_EVERY_S:
            self._tell()

    def fail(self, model: ModelFile, engine: str, error: DomovoiError) -> None:
        """Say that a model can't be loaded."""
        log.error("model not loaded", extra={"model": model.name, "code": error.code, "detail": error.detail})
        self._put(model, ModelStatus(model.name, "failed", error.code, engine))

    def remove(self, path: Path) -> None:
        """Say no more of a model."""
        if self.models.pop(path, None) is not None:
            self._tell()

    def step(self, step: StepDown) -> None:
        """Say that a model steps down."""
        metrics.steps_down.labels(step.engine, step.what).inc()
        log.warning("step down", extra=structs.asdict(step))
        self.steps = [*self.steps, step][-MOST_STEPS:]
        self._tell()

    def _put(self, model: ModelFile, status: ModelStatus) -> None:
        self.models[model.path] = status
        self._tell()

    def _tell(self) -> None:
        self._told_s = time.monotonic()
        self.on_change()
