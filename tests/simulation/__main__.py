"""`make simulate`: many worlds, one after the other; a failing one is named by its seed.

SEED= begins there, RUNS= says how many.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback

from tests.simulation.world import simulate

DEFAULT_RUNS = 10_000
SAY_EVERY = 500


def main() -> int:
    """Return 1 if a run failed."""
    # Crashes and forks are what this is about; hundreds of warnings tell nothing.
    logging.disable(logging.WARNING)
    first = int(os.environ.get("SEED") or 0)
    runs = int(os.environ.get("RUNS") or DEFAULT_RUNS)
    started = time.monotonic()
    for seed in range(first, first + runs):
        try:
            simulate(seed)
        except Exception:
            traceback.print_exc()
            sys.stderr.write(f"seed {seed} failed; once more: make simulate SEED={seed} RUNS=1\n")
            return 1
        if (seed - first + 1) % SAY_EVERY == 0:
            sys.stdout.write(f"{seed - first + 1} runs in {time.monotonic() - started:.0f} s\n")
            sys.stdout.flush()
    sys.stdout.write(f"{runs} runs from seed {first}: nothing lost, nothing doubled\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
