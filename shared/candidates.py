"""Addresses at which a node may be reached directly, as it publishes them (rules D)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.limits import MAX_CANDIDATES

# A DNS name, an IPv4 address, or an IPv6 address in brackets: as in a URL.
Host = Annotated[str, Meta(pattern=r"^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-f:.]{2,45}\])$")]
Kind = Literal["loopback", "name", "lan", "vpn", "virtual"]

# Of these a browser's pages count as at home: RFC 1918, RFC 6598, RFC 3927, RFC 4193.
_LOCAL: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("169.254.0.0/16"),
    IPv6Network("fc00::/7"),
)
_SUBSCRIBER_BITS = 64


class Candidate(Struct, frozen=True):
    """One address of a node.

    `kind` says what leads there: the PC's own browser, a name with a certificate, a network at home, a VPN, or an
    adapter of virtual machines.
    """

    scheme: Literal["http", "https"]
    host: Host
    port: Annotated[int, Meta(ge=1, le=65535)]
    kind: Kind

    @property
    def base(self) -> str:
        """The address before `/v1/…`."""
        return f"{self.scheme}://{self.host}:{self.port}"


class LocalNetworkChoice(Struct, frozen=True):
    """POST /v1/local-network: whether the node may answer on the network at home, for who manages it."""

    is_on: bool


Candidates = Annotated[list[Candidate], Meta(max_length=MAX_CANDIDATES)]


def is_local(address: str) -> bool:
    """Say whether an IP address belongs to a home or a VPN, and not to the internet. Raises ValueError."""
    known = ip_address(address)
    return any(known in network for network in _LOCAL)


def same_nat(one: str | None, other: str | None) -> bool:
    """Guess whether two peers of the server sit behind the same router, from the addresses that it sees them at.

    Equal IPv4 addresses, or IPv6 addresses of one /64, are one household. Addresses that are not of the internet at
    all mean that the server itself stands in that household.
    """
    try:
        first, second = _plain(one or ""), _plain(other or "")
    except ValueError:
        return False
    if not first.is_global and not second.is_global:
        return True
    if first.version != second.version:
        return False
    bits = _SUBSCRIBER_BITS if isinstance(first, IPv6Address) else 0
    return int(first) >> bits == int(second) >> bits


def _plain(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
