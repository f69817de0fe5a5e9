"""`make bench-app`: what the app weighs, and how it feels on a slow phone."""

from tests.benchmarks import app_threads, app_weight, lighthouse

for benchmark in (app_weight, app_threads, lighthouse):
    benchmark.main()
