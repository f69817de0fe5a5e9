"""The machine's table of network interfaces, read without asking anybody on the network."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil

ASK_WITHIN_S = 5.0
# Documentation addresses (RFC 5737, RFC 3849): connecting a datagram socket sends nothing and names the way out.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
# IFA_F_TEMPORARY, IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE of Linux's <linux/if_addr.h>.
_FLEETING_FLAGS = 0x01 | 0x08 | 0x20 | 0x40
# SuffixOrigin of Windows' MSFT_NetIPAddress.
_RANDOM_SUFFIX = 5
_POWERSHELL = (
    "Get-NetIPAddress -AddressFamily IPv6 | ForEach-Object { [pscustomobject]@{ a = $_.IPAddress; "
    "s = [int]$_.SuffixOrigin } } | ConvertTo-Json -Compress"
)


class InterfaceAddress(NamedTuple):
    """One address of one interface. `is_fleeting`: a temporary or deprecated IPv6 address, soon another one.

    `is_way_out`: what goes to the internet leaves from here. `hardware` is the MAC address, if the interface has one.
    """

    interface: str
    address: str
    is_up: bool = True
    is_fleeting: bool = False
    is_way_out: bool = False
    hardware: str = ""


def read_table() -> list[InterfaceAddress]:
    """Return every IP address that the machine has now."""
    states = psutil.net_if_stats()
    ways_out = _ways_out()
    rows = []
    for name, entries in psutil.net_if_addrs().items():
        hardware = next((entry.address for entry in entries if entry.family == psutil.AF_LINK), "")
        is_up = name in states and states[name].isup
        for entry in entries:
            if entry.family in {socket.AF_INET, socket.AF_INET6}:
                address = entry.address.partition("%")[0].lower()
                rows.append(InterfaceAddress(name, address, is_up, False, address in ways_out, hardware))
    fleeting = _fleeting() if any(":" in row.address and not row.address.startswith("fe80") for row in rows) else set()
    return [row._replace(is_fleeting=row.address in fleeting) for row in rows]


def fleeting_on_linux(table: str) -> set[str]:
    """Return the temporary addresses of a `/proc/net/if_inet6`."""
    rows = [line.split() for line in table.splitlines()]
    return {_compressed(row[0]) for row in rows if len(row) >= 6 and int(row[4], 16) & _FLEETING_FLAGS}  # noqa: PLR2004


def fleeting_on_macos(ifconfig: str) -> set[str]:
    """Return the temporary addresses that `ifconfig` tells."""
    found = re.findall(r"^\s+inet6 ([0-9a-f:]+)\S* .*\b(?:temporary|deprecated|tentative)\b", ifconfig, re.MULTILINE)
    return set(found)


def fleeting_on_windows(listing: str) -> set[str]:
    """Return the temporary addresses of what PowerShell lists, as JSON of addresses and the origins of their ends."""
    try:
        rows = json.loads(listing or "[]")
    except ValueError:
        return set()
    rows = rows if isinstance(rows, list) else [rows]
    return {str(row["a"]).partition("%")[0].lower() for row in rows if row.get("s") == _RANDOM_SUFFIX}


def _fleeting() -> set[str]:
    try:
        if sys.platform == "win32":
            return fleeting_on_windows(_told("powershell", "-NoProfile", "-NonInteractive", "-Command", _POWERSHELL))
        if sys.platform == "darwin":
            return fleeting_on_macos(_told("ifconfig", "-a", "inet6"))
        return fleeting_on_linux(Path("/proc/net/if_inet6").read_text("ascii"))
    except (OSError, subprocess.SubprocessError):
        # Then one that runs out is published, and another one later.
        return set()


def _told(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=ASK_WITHIN_S).stdout  # noqa: S603  # ours


def _compressed(hexadecimal: str) -> str:
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(hexadecimal))


def _ways_out() -> set[str]:
    found = set()
    for family, address in _ELSEWHERE:
        try:
            with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
                probe.connect((address, 9))
                found.add(str(probe.getsockname()[0]).partition("%")[0])
        except OSError:
            continue
    return found
