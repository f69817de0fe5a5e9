"""How fast an answer comes, for the status and for /metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from inference_node import metrics
from inference_node.engines.engine import Finished, Piece

if TYPE_CHECKING:
    from inference_node.engines.engine import EngineEvent
    from inference_node.loading.ready import Ready

# A rate over fewer tokens says more about the clock than about the engine.
LEAST_TOKENS = 8


class Pace:
    """The clock of one answer, started when the engine has taken the prompt."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self._labels = (ready.engine.name, ready.model.name)
        self._begun_s = time.monotonic()
        self._first_s: float | None = None

    def note(self, event: EngineEvent) -> None:
        """Take note of an event."""
        match event:
            case Piece(count=count):
                metrics.tokens.labels(*self._labels).inc(count)
                if self._first_s is None:
                    self._first_s = time.monotonic()
                    metrics.first_token_seconds.labels(*self._labels).observe(self._first_s - self._begun_s)
            case Finished():
                self._finish(event)
            case _:
                pass

    def _finish(self, finished: Finished) -> None:
        for source, count in (
            ("read", finished.prompt_tokens - finished.cached_tokens),
            ("remembered", finished.cached_tokens),
        ):
            metrics.prompt_tokens.labels(*self._labels, source).inc(count)
        after_first = finished.completion_tokens - 1
        if self._first_s is not None and after_first >= LEAST_TOKENS:
            rate = after_first / max(time.monotonic() - self._first_s, 1e-6)
            metrics.tokens_per_second.labels(*self._labels).observe(rate)
            self._ready.measured(rate)
