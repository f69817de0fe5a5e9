"""Numbers for Prometheus: counts only, never names, addresses or text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable


class Metrics:
    """One node's numbers, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.runs_started = Counter("domovoi_runs_started", "Answers begun by this process.", registry=self._registry)
        self.runs_ended = Counter(
            "domovoi_runs_ended", "Answers by how they ended.", ["state"], registry=self._registry
        )
        self.tokens = Counter("domovoi_tokens_generated", "Tokens of answers.", registry=self._registry)

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a number that is read when somebody asks."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """Return Prometheus's text format."""
        return generate_latest(self._registry)
