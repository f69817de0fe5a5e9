"""What an engine process gives up: the network, its life after its parent's, more memory than it was given.

Each is taken where the system has it and left as it is elsewhere; the process reads untrusted files with native code.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

# linux/prctl.h, linux/sched.h
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x40000000
_CLONE_NEWUSER = 0x10000000
# The kernel's scale goes from -1000 to 1000. What must go when memory runs out is the engine, not the desktop.
OOM_SCORE = 800


def isolate(parent: int) -> None:
    """Give up network and survival. Must be called before the process has threads; ends it if the parent is gone."""
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It was gone before it could have told us.
        os._exit(0)
    # Root may do without a namespace of users, and keeps its access to files; others need one, where it is allowed.
    if library.unshare(_CLONE_NEWNET) != 0:
        library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), "ascii")


def limit_memory(most_bytes: int) -> None:
    """Have allocations beyond this fail, rather than drive the whole machine into swapping.

    Memory that maps files, as models are read, does not count.
    """
    if sys.platform == "linux":
        import resource  # noqa: PLC0415  # not on Windows

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
