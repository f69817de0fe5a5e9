"""`make bench`: every benchmark in turn."""

from tests.benchmarks import answer_stream, app_weight, lighthouse, propagation

for benchmark in (app_weight, answer_stream, propagation, lighthouse):
    benchmark.main()
