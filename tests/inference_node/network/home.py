"""Addresses that a test gives to this machine and takes away: real ones, on its loopback interface, where it is root.

Where it is not, 10.77.x.y is bound as 127.77.x.y and the table of interfaces is made up: LOUDLY SECOND BEST, since then
nothing shows that the system's own table is read.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from inference_node.network import listeners
from inference_node.network.interfaces import InterfaceAddress, read_table

if TYPE_CHECKING:
    import pytest


def can_give_addresses() -> bool:
    """Say whether this process may change the machine's addresses."""
    return sys.platform == "linux" and os.geteuid() == 0 and _ip("addr", "show")


class Home:
    """What this machine is called on a network that no one else is on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_real = can_give_addresses()
        self._third = os.getpid() % 250 + 1
        self._given: set[str] = set()
        if not self.is_real:
            bound = listeners._bound
            monkeypatch.setattr(listeners, "_bound", lambda place: bound(place._replace(address=self.reach(place[0]))))

    def add(self, last: int) -> str:
        """Give the machine an address and return it."""
        address = f"10.77.{self._third}.{last}"
        self._given.add(address)
        assert not self.is_real or _ip("addr", "add", f"{address}/32", "dev", "lo")
        return address

    def remove(self, address: str) -> None:
        """Take an address from the machine."""
        self._given.discard(address)
        assert not self.is_real or _ip("addr", "del", f"{address}/32", "dev", "lo")

    def close(self) -> None:
        """Take away all of them."""
        for address in tuple(self._given):
            self.remove(address)

    def reach(self, address: str) -> str:
        """Return where to connect to for an address."""
        return address if self.is_real else address.replace("10.", "127.", 1)

    def table(self) -> list[InterfaceAddress]:
        """Return the machine's table, without what it has of its own or of tests that run beside this one."""
        if not self.is_real:
            return [InterfaceAddress("lo", address) for address in sorted(self._given)]
        return [row for row in read_table() if row.address.startswith(f"10.77.{self._third}.")]


def _ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], check=False, capture_output=True).returncode == 0
