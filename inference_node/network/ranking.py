"""Which of the machine's addresses other devices may find it at, the likeliest first. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import TYPE_CHECKING, NamedTuple

from shared.candidates import Kind, is_local

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference_node.network.interfaces import InterfaceAddress

# Names that hypervisors and containers give to adapters of their own, on Linux, macOS and Windows.
_VIRTUAL = re.compile(
    r"docker|br-|veth|virbr|vmnet|vboxnet|vnet|lxc|lxd|cni|flannel|cali|podman|bridge\d|vmenet|"
    r"vethernet|vmware|virtualbox|hyper-v|loopback|npcap|bluetooth|pan\d",
    re.IGNORECASE,
)
_VPN = re.compile(
    r"tun\d|tap|wg|utun|tailscale|zt|ppp|ipsec|nordlynx|proton|wireguard|openvpn|zerotier|mullvad|vpn",
    re.IGNORECASE,
)
# Adapters of VirtualBox, VMware and Hyper-V on their host, whatever people have named them.
_VIRTUAL_HARDWARE = ("0a:00:27", "00:50:56:c0", "00:15:5d")
_ORDER: tuple[Kind, ...] = ("loopback", "name", "lan", "vpn", "virtual")
_CARRIER_GRADE = IPv4Network("100.64.0.0/10")


class Found(NamedTuple):
    """An address that was looked at. `reason` says why it is not offered; it is empty for one that is."""

    address: str
    interface: str
    kind: Kind
    reason: str = ""

    @property
    def host(self) -> str:
        """The address as a URL writes it."""
        return f"[{self.address}]" if ":" in self.address else self.address


def rank(table: Iterable[InterfaceAddress]) -> list[Found]:
    """Return every address once, those to be offered first and in the order in which they are worth trying."""
    # Of two rows with one address the last counts here: one that can be used, before all others.
    rows = sorted(table, key=lambda row: (bool(_judge(row).reason), _order(row), row), reverse=True)
    judged = {row.address: (_order(row), _judge(row)) for row in rows}
    found = [one for _, one in sorted(judged.values())]
    return sorted(found, key=lambda one: bool(one.reason))


def usable(table: Iterable[InterfaceAddress]) -> list[Found]:
    """Return the addresses to be offered, the likeliest first."""
    return [found for found in rank(table) if not found.reason]


def _judge(row: InterfaceAddress) -> Found:
    found = Found(row.address, row.interface, _kind(row))
    address = ip_address(row.address)
    reasons = (
        (not row.is_up, "its interface is down"),
        (address.is_loopback, "it leads to this machine alone"),
        (address.is_unspecified or address.is_multicast, "nobody is there"),
        (isinstance(address, IPv6Address) and address.is_link_local, "a browser can't name it"),
        (row.is_fleeting, "it is temporary"),
        (not is_local(row.address), "it is on the internet, and not at home"),
    )
    return found._replace(reason=next((reason for applies, reason in reasons if applies), ""))


def _kind(row: InterfaceAddress) -> Kind:
    address = ip_address(row.address)
    is_carrier_grade = isinstance(address, IPv4Address) and address in _CARRIER_GRADE
    if address.is_loopback:
        return "loopback"
    if is_carrier_grade or _VPN.match(row.interface):
        return "vpn"
    if row.is_way_out:
        # A bridge or virtual switch that the machine itself goes out by is its network card.
        return "lan"
    hardware = row.hardware.lower().replace("-", ":")
    is_virtual = _VIRTUAL.match(row.interface) or hardware.startswith(_VIRTUAL_HARDWARE)
    return "virtual" if is_virtual else "lan"


def _order(row: InterfaceAddress) -> tuple[int, bool, bool, int, str, int]:
    """Kind, way out, self-assigned addresses after those that somebody gave, IPv4 first, and then always the same."""
    address = ip_address(row.address)
    return (
        _ORDER.index(_kind(row)),
        not row.is_way_out,
        address.is_link_local,
        address.version,
        row.interface,
        int(address),
    )
