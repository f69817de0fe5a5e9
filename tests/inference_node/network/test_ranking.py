"""Which addresses are offered (rule D1): machines of three systems, and properties of any table."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.network.interfaces import InterfaceAddress
from inference_node.network.ranking import rank, usable
from shared.candidates import is_local
from tests.inference_node.network.tables import MACHINES, Machine

INTERFACES = st.sampled_from(["eth0", "wlan0", "docker0", "vEthernet (WSL)", "tailscale0", "utun3", "en0", "lo", "br0"])
ADDRESSES = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.ip_addresses(network="192.168.0.0/16"),
    st.ip_addresses(network="100.64.0.0/10"),
    st.ip_addresses(network="fe80::/10"),
    st.ip_addresses(network="fd00::/8"),
).map(str)
TABLES = st.lists(
    st.builds(InterfaceAddress, INTERFACES, ADDRESSES, st.booleans(), st.booleans(), st.booleans()), max_size=12
)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_D1_what_a_machine_offers(machine: Machine) -> None:
    assert [(found.address, found.kind) for found in usable(machine.table)] == machine.expected


@given(TABLES)
def test_D1_only_addresses_that_others_can_use(table: list[InterfaceAddress]) -> None:
    rows = {row.address: [other for other in table if other.address == row.address] for row in table}
    for found in usable(table):
        address = ip_address(found.address)
        assert is_local(found.address)
        assert not address.is_loopback
        assert not (address.version == 6 and address.is_link_local)
        assert any(row.is_up and not row.is_fleeting for row in rows[found.address])


@given(TABLES)
def test_D1_everything_is_looked_at_once_and_what_is_not_offered_says_why(table: list[InterfaceAddress]) -> None:
    found = rank(table)
    assert sorted(one.address for one in found) == sorted({row.address for row in table})
    reasons = [bool(one.reason) for one in found]
    assert reasons == sorted(reasons)


@given(TABLES, st.randoms())
def test_D1_the_order_of_the_table_does_not_matter(table: list[InterfaceAddress], random: object) -> None:
    shuffled = list(table)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' Random
    assert rank(shuffled) == rank(table)


@given(TABLES)
def test_D1_virtual_adapters_come_last_and_are_not_dropped(table: list[InterfaceAddress]) -> None:
    kinds = [found.kind for found in usable(table)]
    assert kinds == sorted(kinds, key=["lan", "vpn", "virtual"].index)
