"""Reading the machine's table: this machine's own, and what other systems say of temporary addresses."""

from __future__ import annotations

from inference_node.network.interfaces import (
    fleeting_on_linux,
    fleeting_on_macos,
    fleeting_on_windows,
    read_table,
)

IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000007e2a31fffeaabbcc 03 40 20 80   wlp2s0
200300e17f3a8500d1f077aa4c219b02 03 40 00 01   wlp2s0
200300e17f3a85001c2b9dfffe012a3b 03 40 00 00   wlp2s0
fd3c9a112b7e000020cf91d2aa0711e9 03 40 00 21   wlp2s0
fd3c9a112b7e000000000000000000aa 03 40 00 40   wlp2s0
"""
IFCONFIG = """\
en7: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tinet6 fe80::1871:2f3e:aa10:91c2%en7 prefixlen 64 secured scopeid 0x12
\tinet6 fdaa:bbcc:dd00:1:1871:2f3e:aa10:91c2 prefixlen 64 autoconf secured
\tinet6 fdaa:bbcc:dd00:1:5d20:8e7f:c11:b2a4 prefixlen 64 autoconf temporary
\tinet6 fdaa:bbcc:dd00:1:99a0:1111:2222:3333 prefixlen 64 deprecated autoconf temporary
"""
WINDOWS = (
    '[{"a":"fe80::8a1b:c2d3:e4f5:a6b7%12","s":4},{"a":"2a02:810d:4b3f:e600:7d4e:1c09:ab33:51f2","s":5},'
    '{"a":"2a02:810d:4b3f:e600:51c:22ff:8f2a:9b10","s":4},{"a":"::1","s":2}]'
)


def test_D1_temporary_addresses_of_linux() -> None:
    assert fleeting_on_linux(IF_INET6) == {
        "2003:e1:7f3a:8500:d1f0:77aa:4c21:9b02",
        "fd3c:9a11:2b7e:0:20cf:91d2:aa07:11e9",
        "fd3c:9a11:2b7e::aa",
    }


def test_D1_temporary_addresses_of_macos() -> None:
    assert fleeting_on_macos(IFCONFIG) == {
        "fdaa:bbcc:dd00:1:5d20:8e7f:c11:b2a4",
        "fdaa:bbcc:dd00:1:99a0:1111:2222:3333",
    }


def test_D1_temporary_addresses_of_windows() -> None:
    assert fleeting_on_windows(WINDOWS) == {"2a02:810d:4b3f:e600:7d4e:1c09:ab33:51f2"}
    assert fleeting_on_windows('{"a":"fd00::7","s":5}') == {"fd00::7"}
    assert fleeting_on_windows("") == fleeting_on_windows("Get-NetIPAddress: not recognised") == set()


def test_D1_this_machine_has_a_loopback() -> None:
    assert "127.0.0.1" in {row.address for row in read_table() if row.is_up}
