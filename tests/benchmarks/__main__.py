"""`make bench`: every benchmark in turn."""

from tests.benchmarks import (
    answer_stream,
    app_threads,
    app_weight,
    lighthouse,
    native_engine,
    propagation,
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
    app_threads,
    lighthouse,
):
    benchmark.main()
