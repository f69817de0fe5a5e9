"""Addresses that are at home, and guesses at who shares a router (rule D4)."""

from __future__ import annotations

import msgspec
import pytest

from shared.candidates import Candidate, is_local, same_nat


@pytest.mark.parametrize("address", ["10.0.0.1", "172.31.0.9", "192.168.1.2", "100.127.0.1", "169.254.9.9", "fd00::1"])
def test_D1_addresses_at_home(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize("address", ["172.32.0.1", "100.128.0.1", "8.8.8.8", "127.0.0.1", "2003:e1::1", "fe80::1"])
def test_D1_addresses_elsewhere(address: str) -> None:
    assert not is_local(address)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("93.184.216.34", "93.184.216.34", True),
        ("93.184.216.34", "::ffff:93.184.216.34", True),
        ("93.184.216.34", "93.184.216.35", False),
        ("2003:e1:7f3a:8500::1", "2003:e1:7f3a:8500:d1f0::2", True),
        ("2003:e1:7f3a:8500::1", "2003:e1:7f3a:8501::1", False),
        ("93.184.216.34", "2003:e1:7f3a:8500::1", False),
        # The server itself stands in the household.
        ("127.0.0.1", "192.168.1.7", True),
        ("127.0.0.1", "93.184.216.34", False),
        ("", "93.184.216.34", False),
        ("testclient", "testclient", False),
        (None, None, False),
    ],
)
def test_D4_whether_two_sit_behind_one_router(one: str | None, other: str | None, same: bool) -> None:
    assert same_nat(one, other) is same
    assert same_nat(other, one) is same


@pytest.mark.parametrize("host", ["evil.example/x", "a b", "user@host", "[zz]", "host:1", "", "-", "a?", "[::1"])
def test_D2_a_host_is_a_host(host: str) -> None:
    fields = {"scheme": "http", "host": host, "port": 8461, "kind": "lan"}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, Candidate)
