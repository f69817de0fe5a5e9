"""`make bench`: every benchmark in turn."""

from tests.benchmarks import (
    answer_stream,
    app_threads,
    app_weight,
    idle_devices,
    lighthouse,
    native_engine,
    propagation,
    reconnecting,
    relay_latency,
    relay_load,
    revocation,
    sync_server,
)

for benchmark in (
    app_weight,
    native_engine,
    answer_stream,
    sync_server,
    propagation,
    revocation,
    relay_latency,
    relay_load,
    reconnecting,
    idle_devices,
    app_threads,
    lighthouse,
):
    benchmark.main()
