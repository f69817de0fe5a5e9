"""What /metrics counts, since the process began.

Labels have few values: names of engines and of models on this PC, codes, and the roles of what is counted.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

registry = CollectorRegistry()

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_RATES = (0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640)

runs_started = Counter("domovoi_runs_started", "Generations begun.", registry=registry)
runs_ended = Counter("domovoi_runs_ended", "Runs ended, by final state.", ["state"], registry=registry)
tokens = Counter("domovoi_tokens", "Tokens generated.", ["engine", "model"], registry=registry)
prompt_tokens = Counter(
    "domovoi_prompt_tokens",
    "Tokens of prompts, read or found in an engine's memory.",
    ["engine", "model", "source"],
    registry=registry,
)
tokens_per_second = Histogram(
    "domovoi_tokens_per_second",
    "Speed of an answer after its first token.",
    ["engine", "model"],
    buckets=_RATES,
    registry=registry,
)
first_token_seconds = Histogram(
    "domovoi_first_token_seconds",
    "From the engine's taking the prompt to the first token.",
    ["engine", "model"],
    buckets=_SECONDS,
    registry=registry,
)
queue_seconds = Histogram(
    "domovoi_queue_seconds", "Waited for a turn with the engine.", buckets=_SECONDS, registry=registry
)
load_seconds = Histogram(
    "domovoi_load_seconds", "Loading a model, first token included.", ["engine"], buckets=_SECONDS, registry=registry
)
engine_failures = Counter(
    "domovoi_engine_failures", "Engines that failed and were made anew.", ["engine", "code"], registry=registry
)
steps_down = Counter(
    "domovoi_steps_down", "Models that run otherwise than they might.", ["engine", "what"], registry=registry
)
waiting = Gauge("domovoi_runs_waiting", "Requests that wait for the engine.", registry=registry)
generating = Gauge("domovoi_runs_generating", "Requests that have their turn.", registry=registry)
engine_ready = Gauge("domovoi_engine_ready", "1 while an engine is loaded and alive.", registry=registry)
models_loaded = Gauge("domovoi_models_loaded", "Models in memory.", registry=registry)
