"""A wire with a delay and losses, where the kernel has no netem: `python -m tests.network.slow_wire NAME MS LOSS SEED`.

Makes a TUN device of that name, and gives back to the kernel each packet that is sent into it, so many milliseconds
later, or never. Says `ready` when the device is there. Ends when it is killed.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque
from pathlib import Path

DEVICE = Path("/dev/net/tun")
# <linux/if_tun.h>: TUNSETIFF; IFF_TUN and IFF_NO_PI.
_SET_INTERFACE = 0x400454CA
_PLAIN_TUN = 0x0001 | 0x1000
PACKET_BYTES = 65536


def main(name: str, delay_s: float, loss: float, seed: int) -> None:
    """Carry until killed."""
    wire = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(wire, _SET_INTERFACE, struct.pack("16sH", name.encode(), _PLAIN_TUN))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    chance = random.Random(seed)
    under_way: deque[tuple[float, bytes]] = deque()
    while True:
        wait_s = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        if select.select([wire], [], [], wait_s)[0]:
            packet = os.read(wire, PACKET_BYTES)
            if chance.random() >= loss:
                under_way.append((time.monotonic() + delay_s, packet))
        while under_way and under_way[0][0] <= time.monotonic():
            os.write(wire, under_way.popleft()[1])


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) / 1000, float(sys.argv[3]), int(sys.argv[4]))
