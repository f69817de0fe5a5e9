"""A town: a home with a router, a phone that may leave it, and a server elsewhere, each on a network of its own.

    phone   192.168.77.10 ┐          ┌ 198.51.100.10  vps
    laptop  192.168.77.11 ┤          │
    pc      192.168.77.20 ┤  router  ┤
    pc2     192.168.77.21 ┘          └ 203.0.113.70   phone, by its mobile network

Whoever is at home reaches everything; from the mobile network nothing leads into the home, as behind a NAT.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.end_to_end.household import ROOT
from tests.network.namespaces import Namespace, join, write_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "home.example"
HOME = "192.168.77"
PHONE, LAPTOP, PC, SECOND_PC, ELSEWHERE_AT_HOME = (f"{HOME}.{last}" for last in (10, 11, 20, 21, 120))
VPS = "198.51.100.10"
MOBILE = "203.0.113.70"
ROUTER = "10.255.255.1"


class Town:
    """The machines, and what befalls the ways between them."""

    def __init__(self, folder: Path) -> None:
        # How far the clocks of whatever is started are ahead: a test can't wait for days. They never go back.
        self.days = 0
        self.router = Namespace("router")
        self.hosts = write_hosts(folder / "hosts", {NAME: VPS})
        self._machines: list[Namespace] = []
        with self.router.inside():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1", "ascii")
            # Who is led astray gets answers from addresses that are elsewhere.
            Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0", "ascii")
            Path("/proc/sys/net/ipv4/conf/default/rp_filter").write_text("0", "ascii")
        self.router.ip(f"addr add {ROUTER}/32 dev lo")
        self.vps = self._machine("vps", "wan", VPS)
        self.pc = self._machine("pc", "lan", PC)
        self.second_pc = self._machine("pc2", "lan", SECOND_PC)
        self.laptop = self._machine("laptop", "wlan", LAPTOP)
        self.phone = self._machine("phone", "wlan", PHONE)
        self._plug(self.phone, "mobile", MOBILE, metric=100)
        self.router.ip(f"rule add pref 1 from {MOBILE} to {HOME}.0/24 blackhole")

    def close(self) -> None:
        """Let go of all of them."""
        for machine in (*self._machines, self.router):
            machine.close()

    @contextmanager
    def phone_out_of_the_house(self) -> Iterator[None]:
        """Take the phone's wireless network and its address there away; the mobile network takes over."""
        self.phone.ip("link set wlan down")
        self.phone.ip(f"addr del {PHONE}/32 dev wlan")
        try:
            yield
        finally:
            self.phone.ip(f"addr add {PHONE}/32 dev wlan")
            self.phone.ip("link set wlan up")
            _route(self.phone, "wlan", metric=10)

    @contextmanager
    def silence_between(self, one: str, other: str) -> Iterator[None]:
        """Let whatever goes between two addresses vanish without a word."""
        ways = ((one, other), (other, one))
        for source, target in ways:
            self.router.ip(f"rule add pref 1 from {source} to {target} blackhole")
        try:
            yield
        finally:
            for source, target in ways:
                self.router.ip(f"rule del pref 1 from {source} to {target} blackhole")

    @contextmanager
    def led_astray(self, source: str) -> Iterator[Namespace]:
        """Lead whatever comes from an address to another machine, yielded, which has everybody's address."""
        trap = Namespace("trap")
        join(trap, "wan", self.router, "trap-wan")
        for address in (VPS, PC, SECOND_PC):
            trap.ip(f"addr add {address}/32 dev lo")
        _route(trap, "wan", metric=10)
        self.router.ip("route add default dev trap-wan table 100")
        self.router.ip(f"rule add pref 4 from {source} lookup 100")
        try:
            yield trap
        finally:
            self.router.ip(f"rule del pref 4 from {source} lookup 100")
            self.router.ip("link del trap-wan")
            trap.close()

    @contextmanager
    def far_away(self, address: str, delay_ms: float, loss: float = 0.0, seed: int = 1) -> Iterator[None]:
        """Delay whatever comes from or goes to an address, and lose such a share of it."""
        command = [sys.executable, "-m", "tests.network.slow_wire", "far", str(delay_ms), str(loss), str(seed)]
        with self.router.inside():
            wire = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert wire.stdout is not None
        assert wire.stdout.readline() == "ready\n"
        self.router.ip("link set far up")
        self.router.ip("route add default dev far table 101")
        # What has been through it goes on as usual.
        rules = ("pref 2 iif far lookup main", f"pref 3 from {address} lookup 101", f"pref 3 to {address} lookup 101")
        for rule in rules:
            self.router.ip(f"rule add {rule}")
        try:
            yield
        finally:
            for rule in rules:
                self.router.ip(f"rule del {rule}")
            with wire:
                wire.kill()

    @contextmanager
    def another_address(self, machine: Namespace, old: str, new: str) -> Iterator[None]:
        """Give a machine at home another address, as a router does that was restarted."""
        self._readdress(machine, old, new)
        try:
            yield
        finally:
            self._readdress(machine, new, old)

    def _readdress(self, machine: Namespace, old: str, new: str) -> None:
        port = f"{machine.name}-lan"
        machine.ip(f"addr add {new}/32 dev lan")
        self.router.ip(f"route add {new}/32 dev {port}")
        machine.ip(f"addr del {old}/32 dev lan")
        self.router.ip(f"route del {old}/32 dev {port}")
        _route(machine, "lan", metric=10)

    def _machine(self, name: str, interface: str, address: str) -> Namespace:
        machine = Namespace(name)
        self._machines.append(machine)
        self._plug(machine, interface, address, metric=10)
        return machine

    def _plug(self, machine: Namespace, interface: str, address: str, *, metric: int) -> None:
        port = f"{machine.name}-{interface}"
        join(machine, interface, self.router, port)
        machine.ip(f"addr add {address}/32 dev {interface}")
        _route(machine, interface, metric=metric)
        self.router.ip(f"route add {address}/32 dev {port}")


def _route(machine: Namespace, interface: str, *, metric: int) -> None:
    machine.ip(f"route replace default via {ROUTER} dev {interface} onlink metric {metric}")
