"""Where this PC is found and by whom, in words for its owner. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from shared.candidates import Kind, is_local

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from inference_node.network.ranking import Found

WHENCE: dict[Kind, str] = {
    "lan": "from the network at home",
    "vpn": "from its VPN",
    "virtual": "from virtual machines on this PC",
}
SWITCH_ON = "House in the app, or DOMOVOI_LOCAL_NETWORK=on. Calls are sealed."
NOT_YET = "no server has said yet where it sees this PC"


def of_addresses(
    found: Sequence[Found], listening: Collection[str], port: int, *, is_allowed: bool, is_paired: bool
) -> Iterator[str]:
    """Yield one line for each place where this PC is found by itself and at home, and what keeps it closed."""
    yield f"on this PC: http://localhost:{port}"
    for one in found:
        where = f"{WHENCE[one.kind]}: http://{one.host}:{port} ({one.interface})"
        if one.address in listening:
            yield where
        elif not is_allowed:
            yield f"{where}, which is closed. To open it: {SWITCH_ON}"
        elif not is_paired:
            yield f"{where}, which opens when somebody is served: this PC is not paired yet"
        else:
            yield f"{where}, where the system does not let us listen"
    if not found:
        yield "from the network at home: nowhere, for this PC has no address of such a network"


def of_outside(address: str, own: Collection[str], server_url: str) -> str:
    """Return what it means that the server sees this PC at that address, where `own` are the addresses it has."""
    through = f"from elsewhere: through the server, {server_url}"
    try:
        seen = ip_address(address.partition("%")[0])
    except ValueError:
        return f"{through}, which can't tell where it sees this PC"
    if seen.is_loopback:
        return f"{through}, which runs on this PC: whoever reaches the one reaches the other"
    if is_local(str(seen)):
        whose = "its own address" if str(seen) in own else "no address of the internet"
        return f"{through}, which sees this PC at {seen}, {whose}: both seem to be in one network"
    if str(seen) in own:
        return f"{through}, which sees this PC at its own address {seen}: no router hides it"
    return f"{through}, which sees this PC at {seen}, likely its router: devices seen there are taken to be at home"
