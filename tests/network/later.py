"""`domovoi` on a day to come: `python -m tests.network.later DAYS node …`."""

from __future__ import annotations

import sys
import time

from deploy.command.application import main

DAY_S = 86400

if __name__ == "__main__":
    ahead_s = int(sys.argv.pop(1)) * DAY_S
    now_s, now_ns = time.time, time.time_ns
    time.time = lambda: now_s() + ahead_s
    time.time_ns = lambda: now_ns() + ahead_s * 10**9
    main()
