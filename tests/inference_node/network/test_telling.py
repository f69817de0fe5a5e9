"""Where this PC is found, in words: of which address what is said, and of what the server sees."""

from __future__ import annotations

import pytest

from inference_node.network.ranking import Found
from inference_node.network.telling import of_addresses, of_outside

HOME = Found("192.168.1.23", "eth0", "lan")
TAILNET = Found("100.64.0.7", "tailscale0", "vpn")
BRIDGE = Found("172.17.0.1", "docker0", "virtual")
UNIQUE = Found("fd00::5", "eth0", "lan")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([HOME], "from the network at home: http://192.168.1.23:8461 (eth0)"),
        ([UNIQUE], "from the network at home: http://[fd00::5]:8461 (eth0)"),
        ([HOME, TAILNET], "from its VPN: http://100.64.0.7:8461 (tailscale0)"),
        ([BRIDGE], "from virtual machines on this PC: http://172.17.0.1:8461 (docker0)"),
        ([], "from the network at home: nowhere, for this PC has no address of such a network"),
    ],
)
def test_D1_every_address_is_told_with_whom_it_serves(found: list[Found], said: str) -> None:
    listening = {one.address for one in found}
    lines = list(of_addresses(found, listening, 8461, is_allowed=True, is_paired=True))
    assert lines[0] == "on this PC: http://localhost:8461"
    assert lines[-1] == said


@pytest.mark.parametrize(
    ("is_allowed", "is_paired", "why"),
    [(False, True, "closed. To open it: House in the app"), (True, False, "not paired"), (True, True, "the system")],
)
def test_D3_an_address_where_nobody_listens_says_why(is_allowed: bool, is_paired: bool, why: str) -> None:
    line = list(of_addresses([HOME], set(), 8461, is_allowed=is_allowed, is_paired=is_paired))[-1]
    assert line.startswith("from the network at home: http://192.168.1.23:8461 (eth0), ")
    assert why in line


@pytest.mark.parametrize(
    ("address", "meaning"),
    [
        ("93.184.216.34", "at 93.184.216.34, likely its router: devices seen there are taken to be at home"),
        ("8.8.8.8", "at its own address 8.8.8.8: no router hides it"),
        ("192.168.1.23", "at 192.168.1.23, its own address: both seem to be in one network"),
        ("10.0.0.9", "at 10.0.0.9, no address of the internet: both seem to be in one network"),
        ("127.0.0.1", "which runs on this PC"),
        ("::1", "which runs on this PC"),
        ("2a01:4f8::1", "at 2a01:4f8::1, likely its router"),
        ("fe80::1%eth0", "at fe80::1"),
        ("", "can't tell where it sees this PC"),
        ("unknown", "can't tell where it sees this PC"),
    ],
)
def test_D4_what_the_server_sees_is_told_with_what_it_means(address: str, meaning: str) -> None:
    said = of_outside(address, {"192.168.1.23", "8.8.8.8"}, "https://home.example")
    assert said.startswith("from elsewhere: through the server, https://home.example, which ")
    assert meaning in said
