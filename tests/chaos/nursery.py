"""A process that has imported what a part needs and forks one for each line that it is told.

A part that is killed is there again in a tenth of a second: with its imports it takes a second of processor time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# linux/prctl.h
PR_SET_PDEATHSIG = 1
# What is said of a process that ended by itself.
ENDED = "ended"
# Where an entry begins can be told from what a traceback holds.
LOG_FORMAT = "@ %(levelname)s %(asctime)s %(name)s %(message)s"


def nurse(serve: Callable[[Callable[[str], None]], None]) -> None:
    """For each line of the input run `serve` in a process of its own; say its id, and its address when it answers."""
    # Whoever ends is gone at once, without anybody waiting for it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _say("ready")
    for _ in sys.stdin:
        process_id = os.fork()
        if process_id == 0:
            _serve(serve)
        _say(str(process_id))


def _serve(serve: Callable[[Callable[[str], None]], None]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # The nursery ends with its input, and nobody may outlive it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    try:
        serve(_say)
    except BaseException:
        traceback.print_exc()
    _say(ENDED)
    os._exit(1)


def _say(line: str) -> None:
    # One call, so that the lines of two processes are never mixed.
    os.write(1, f"{line}\n".encode())
