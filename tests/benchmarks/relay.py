"""`make bench-relay`: the benchmarks of the relay and of devices that hold their streams."""

from tests.benchmarks import idle_devices, reconnecting, relay_latency, relay_load

for benchmark in (relay_latency, relay_load, reconnecting, idle_devices):
    benchmark.main()
