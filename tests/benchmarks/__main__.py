"""`make bench`: every benchmark in turn."""

from tests.benchmarks import answer_stream, app_weight, native_engine, propagation

for benchmark in (app_weight, answer_stream, native_engine, propagation):
    benchmark.main()
