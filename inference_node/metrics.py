"""What /metrics counts, since the process began."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

registry = CollectorRegistry()

runs_started = Counter("domovoi_runs_started", "Generations begun.", registry=registry)
runs_ended = Counter("domovoi_runs_ended", "Runs ended, by final state.", ["state"], registry=registry)
tokens = Counter("domovoi_tokens", "Tokens generated.", registry=registry)
waiting = Gauge("domovoi_runs_waiting", "Requests that wait for the engine.", registry=registry)
engine_ready = Gauge("domovoi_engine_ready", "1 while an engine is loaded and alive.", registry=registry)
