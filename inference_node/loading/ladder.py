"""How a model is loaded when the best way fails: with less, then by the next engine. Each step down is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from inference_node import clock
from inference_node.loading.ways import smaller
from shared.errors import Code, DomovoiError
from shared.node_status import StepDown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference_node.engines.engine import EngineOptions

# So many failures without an answer between them are no accident.
MOST_FAILURES = 3


class Ladder:
    """One model's way down. `engines` are names, the best first."""

    def __init__(self, model: str, engines: Sequence[str], options: EngineOptions) -> None:
        self._model = model
        self._engines = list(engines)
        self._best = options
        self.options = options
        # In a row, on this rung and the ones above.
        self.failures = 0
        self._failures_here = 0
        self.steps: list[StepDown] = []

    @property
    def engine(self) -> str:
        """The engine to load with."""
        return self._engines[0]

    @property
    def has_next_engine(self) -> bool:
        """Whether another engine could be tried."""
        return len(self._engines) > 1

    def worked(self) -> None:
        """Forgive earlier failures; the steps stay taken."""
        self.failures = self._failures_here = 0

    def failed(self, error: DomovoiError) -> StepDown | None:
        """Take note of a failure and return the step down that follows, or None.

        None for a lone crash, for an error that no other way would spare, and when there is no rung below.
        """
        self.failures += 1
        self._failures_here += 1
        match error.code:
            case Code.OUT_OF_MEMORY:
                step = self._with_less(error) or self._next_engine(error)
            case Code.UNSUPPORTED | Code.MODEL_DAMAGED:
                step = self._next_engine(error)
            case Code.ENGINE_FAILED if self._failures_here >= MOST_FAILURES:
                step = self._next_engine(error) or self._with_less(error)
            case _:
                step = None
        if step is not None:
            self._failures_here = 0
            self.steps.append(step)
        return step

    def fitted(self, options: EngineOptions) -> list[StepDown]:
        """Load with these options, which fit into what is free; return the steps down that this is.

        Fewer answers at once is none: nobody's answer is the worse for it, and the status has the number.
        """
        error = DomovoiError(Code.OUT_OF_MEMORY, "The memory that is free does not suffice for more.")
        before, self.options = self.options, options
        steps = [
            self._step(error, name, str(getattr(options, name)))
            for name in ("context", "cache")
            if getattr(options, name) != getattr(before, name)
        ]
        self.steps += steps
        return steps

    def _with_less(self, error: DomovoiError) -> StepDown | None:
        before, after = self.options, next(smaller(self.options), None)
        if after is None:
            return None
        self.options = after
        what = next(name for name in ("slots", "context", "cache") if getattr(after, name) != getattr(before, name))
        return self._step(error, what, str(getattr(after, what)))

    def _next_engine(self, error: DomovoiError) -> StepDown | None:
        if not self.has_next_engine:
            return None
        step = self._step(error, "engine", self._engines[1])
        del self._engines[0]
        self.options = structs.replace(self._best)
        return step

    def _step(self, error: DomovoiError, what: str, to: str) -> StepDown:
        return StepDown(clock.now_ms(), self._model, self.engine, what, to, error.code, error.detail)
