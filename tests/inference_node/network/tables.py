"""Interface tables in the shape in which psutil tells them, as machines of three systems have them. Written by hand.

Each lists (interface, address, is it up, is it fleeting, is it the way out, MAC), and what is worth trying, in order.
"""

from __future__ import annotations

from typing import NamedTuple

from inference_node.network.interfaces import InterfaceAddress as Row


class Machine(NamedTuple):
    """One machine."""

    name: str
    table: list[Row]
    expected: list[tuple[str, str]]


LINUX_LAPTOP = Machine(
    "Linux laptop with Docker, libvirt, a Tailscale and an unplugged cable",
    [
        Row("lo", "127.0.0.1"),
        Row("lo", "::1"),
        Row("enp0s31f6", "192.168.8.2", False, False, False, "54:e1:ad:11:22:33"),
        Row("wlp2s0", "192.168.1.34", True, False, True, "7c:2a:31:aa:bb:cc"),
        Row("wlp2s0", "2003:e1:7f3a:8500:1c2b:9dff:fe01:2a3b", True, False, True, "7c:2a:31:aa:bb:cc"),
        Row("wlp2s0", "2003:e1:7f3a:8500:d1f0:77aa:4c21:9b02", True, True, False, "7c:2a:31:aa:bb:cc"),
        Row("wlp2s0", "fd3c:9a11:2b7e:0:7e2a:31ff:feaa:bbcc", True, False, False, "7c:2a:31:aa:bb:cc"),
        Row("wlp2s0", "fd3c:9a11:2b7e:0:20cf:91d2:aa07:11e9", True, True, False, "7c:2a:31:aa:bb:cc"),
        Row("wlp2s0", "fe80::7e2a:31ff:feaa:bbcc", True, False, False, "7c:2a:31:aa:bb:cc"),
        Row("docker0", "172.17.0.1", False, False, False, "02:42:5c:01:02:03"),
        Row("br-9f6a11d0c2aa", "172.18.0.1", True, False, False, "02:42:9a:01:02:03"),
        Row("br-9f6a11d0c2aa", "fe80::42:9aff:fe01:203", True, False, False, "02:42:9a:01:02:03"),
        Row("virbr0", "192.168.122.1", True, False, False, "52:54:00:81:92:a3"),
        Row("tailscale0", "100.101.7.19"),
        Row("tailscale0", "fd7a:115c:a1e0::7901:713"),
        Row("tailscale0", "fe80::4b6f:a1c2:99d0:3f10"),
    ],
    [
        ("192.168.1.34", "lan"),
        ("fd3c:9a11:2b7e:0:7e2a:31ff:feaa:bbcc", "lan"),
        ("100.101.7.19", "vpn"),
        ("fd7a:115c:a1e0::7901:713", "vpn"),
        ("172.18.0.1", "virtual"),
        ("192.168.122.1", "virtual"),
    ],
)

WINDOWS_PC = Machine(
    "Windows 11 PC with WSL, VMware, an old VirtualBox, Bluetooth and a full-tunnel WireGuard",
    [
        Row("Ethernet", "192.168.178.25", True, False, False, "D8-BB-C1-10-20-30"),
        Row("Ethernet", "2a02:810d:4b3f:e600:51c:22ff:8f2a:9b10", True, False, False, "D8-BB-C1-10-20-30"),
        Row("Ethernet", "2a02:810d:4b3f:e600:7d4e:1c09:ab33:51f2", True, True, False, "D8-BB-C1-10-20-30"),
        Row("Ethernet", "fe80::8a1b:c2d3:e4f5:a6b7", True, False, False, "D8-BB-C1-10-20-30"),
        Row("Ethernet 3", "192.168.56.1", True, False, False, "0A-00-27-00-00-0C"),
        Row("WLAN", "169.254.71.3", False, False, False, "A4-6B-B6-40-50-60"),
        Row("LAN-Verbindung* 1", "169.254.117.90", False, False, False, "A6-6B-B6-40-50-60"),
        Row("Bluetooth-Netzwerkverbindung", "169.254.201.7", False, False, False, "A4-6B-B6-40-50-64"),
        Row("vEthernet (WSL (Hyper-V firewall))", "172.27.96.1", True, False, False, "00-15-5D-7A-8B-9C"),
        Row("vEthernet (Default Switch)", "172.20.64.1", True, False, False, "00-15-5D-E1-F2-03"),
        Row("VMware Network Adapter VMnet1", "192.168.153.1", True, False, False, "00-50-56-C0-00-01"),
        Row("VMware Network Adapter VMnet8", "192.168.226.1", True, False, False, "00-50-56-C0-00-08"),
        Row("wg-office", "10.66.0.7", True, False, True),
        Row("Loopback Pseudo-Interface 1", "127.0.0.1"),
        Row("Loopback Pseudo-Interface 1", "::1"),
    ],
    [
        ("192.168.178.25", "lan"),
        ("10.66.0.7", "vpn"),
        ("192.168.56.1", "virtual"),
        ("192.168.153.1", "virtual"),
        ("192.168.226.1", "virtual"),
        ("172.20.64.1", "virtual"),
        ("172.27.96.1", "virtual"),
    ],
)

WINDOWS_HYPER_V = Machine(
    "Windows PC whose network card belongs to an external Hyper-V switch",
    [
        Row("vEthernet (External)", "10.0.0.14", True, False, True, "A8-A1-59-01-02-03"),
        Row("vEthernet (Default Switch)", "172.31.240.1", True, False, False, "00-15-5D-01-02-03"),
        Row("Loopback Pseudo-Interface 1", "127.0.0.1"),
    ],
    [("10.0.0.14", "lan"), ("172.31.240.1", "virtual")],
)

MAC = Machine(
    "MacBook with Wi-Fi, a dock's cable, Parallels, iCloud Private Relay's tunnels and AirDrop",
    [
        Row("lo0", "127.0.0.1"),
        Row("lo0", "::1"),
        Row("lo0", "fe80::1"),
        Row("en0", "192.168.0.21", True, False, False, "3c:22:fb:01:02:03"),
        Row("en0", "fe80::14a1:b2c3:d4e5:f607", True, False, False, "3c:22:fb:01:02:03"),
        Row("en7", "192.168.0.40", True, False, True, "00:e0:4c:01:02:03"),
        Row("en7", "fdaa:bbcc:dd00:1:1871:2f3e:aa10:91c2", True, False, False, "00:e0:4c:01:02:03"),
        Row("en7", "fdaa:bbcc:dd00:1:5d20:8e7f:0c11:b2a4", True, True, False, "00:e0:4c:01:02:03"),
        Row("awdl0", "fe80::54d2:8cff:fe11:2233", True, False, False, "56:d2:8c:11:22:33"),
        Row("llw0", "fe80::54d2:8cff:fe11:2233", True, False, False, "56:d2:8c:11:22:33"),
        Row("utun0", "fe80::c1d2:e3f4:a5b6:c7d8"),
        Row("utun4", "100.88.3.4"),
        Row("bridge100", "10.211.55.2", True, False, False, "3e:22:fb:01:02:64"),
        Row("bridge101", "10.37.129.2", True, False, False, "3e:22:fb:01:02:65"),
    ],
    [
        ("192.168.0.40", "lan"),
        ("192.168.0.21", "lan"),
        ("fdaa:bbcc:dd00:1:1871:2f3e:aa10:91c2", "lan"),
        ("100.88.3.4", "vpn"),
        ("10.211.55.2", "virtual"),
        ("10.37.129.2", "virtual"),
    ],
)

VIRTUAL_MACHINE = Machine(
    "Linux guest of VirtualBox: what it has is virtual, and still the only way",
    [Row("lo", "127.0.0.1"), Row("enp0s3", "10.0.2.15", True, False, False, "08:00:27:aa:bb:cc")],
    [("10.0.2.15", "lan")],
)

NO_NETWORK = Machine(
    "Linux PC whose cable is out, with an address that it gave itself on a direct cable",
    [
        Row("lo", "127.0.0.1"),
        Row("eno1", "169.254.12.9", True, False, False, "b4:2e:99:01:02:03"),
        Row("wlan0", "192.168.1.9", False, False, False, "b4:2e:99:01:02:04"),
    ],
    [("169.254.12.9", "lan")],
)

MACHINES = (LINUX_LAPTOP, WINDOWS_PC, WINDOWS_HYPER_V, MAC, VIRTUAL_MACHINE, NO_NETWORK)
