"""Numbers for Prometheus: counts only, never names, addresses or text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable


class Metrics:
    """One server's numbers, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("domovoi_requests", "Requests answered.", ["method", "status"], registry=self._registry)
        self.changes = Counter("domovoi_changes_pushed", "Changes taken into logs.", registry=self._registry)

    def gauge(self, name: str, text: str, value: Callable[[], int]) -> None:
        """Add a number that is read when somebody asks."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """Return Prometheus's text format."""
        return generate_latest(self._registry)
