"""Machines of a test with networks of their own: Linux network namespaces and what joins them.

Nothing of the machine's own network changes, and nothing is left behind: a namespace is held by a file of this
process alone, and goes with the last process in it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# <linux/sched.h>
_NEW_NETWORK = 0x40000000
_THIS_THREAD = "/proc/thread-self/ns/net"


def can_make_namespaces() -> bool:
    """Say whether this process may have networks of its own here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    try:
        Namespace("probe").close()
    except (OSError, subprocess.SubprocessError):
        return False
    return True


class Namespace:
    """One machine's network, with its loopback interface up."""

    def __init__(self, name: str) -> None:
        """Make it. Raises OSError where that is not allowed."""
        self.name = name
        before = os.open(_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", _NEW_NETWORK)
            self._file = os.open(_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _call("setns", before, _NEW_NETWORK)
            os.close(before)
        self.path = f"/proc/{os.getpid()}/fd/{self._file}"
        self.ip("link set lo up")

    def close(self) -> None:
        """Let go of it; processes in it keep it."""
        os.close(self._file)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be on this network: sockets and processes that the calling thread makes meanwhile stay there for ever."""
        before = os.open(_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)
        _call("setns", self._file, _NEW_NETWORK)
        try:
            yield
        finally:
            _call("setns", before, _NEW_NETWORK)
            os.close(before)

    def ip(self, arguments: str) -> None:
        """Run `ip` there. Raises CalledProcessError."""
        with self.inside():
            subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True)

    def command(self, hosts: Path) -> list[str]:
        """Return what begins a program there that reads names from `hosts`."""
        own_hosts = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["nsenter", f"--net={self.path}", "unshare", "--mount", "sh", "-c", own_hosts, str(hosts)]


def join(one: Namespace, interface: str, other: Namespace, other_interface: str) -> None:
    """Lay a cable between two machines."""
    one.ip(f"link add {interface} type veth peer name {other_interface} netns {other.path}")
    one.ip(f"link set {interface} up")
    other.ip(f"link set {other_interface} up")


def write_hosts(path: Path, names: Mapping[str, str]) -> Path:
    """Write a table of names and their addresses."""
    path.write_text("".join(f"{address} {name}\n" for name, address in {"localhost": "127.0.0.1", **names}.items()))
    return path


def _call(function: str, *arguments: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
