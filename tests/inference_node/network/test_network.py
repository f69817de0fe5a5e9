"""A real node on addresses that come and go: it listens where it is let, publishes that, and nothing else (rules D)."""

from __future__ import annotations

import asyncio
import datetime
import logging
import socket
import ssl
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inference_node.network.seen_at import seen_at
from inference_node.network.telling import SWITCH_ON
from shared.bounded_http import SAFE_HEADERS
from shared.candidates import Candidate
from shared.node_status import NodeStatus
from shared.tunnel.frames import FrameType
from tests.inference_node.network.home import Home
from tests.inference_node.running_node import ORIGIN, RunningNode
from tests.inference_node.tunnel_server import TunnelServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.inference_node.scripted_engine import Script

NAME = "pc.home.example"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    made = Home(monkeypatch)
    yield made
    made.close()


@pytest.fixture
async def node(tmp_path: Path, script: Script, home: Home) -> AsyncIterator[RunningNode]:
    running = made_node(tmp_path, script, home)
    await running.grant(running.account)
    await running.start()
    yield running
    await running.stop()


def made_node(tmp_path: Path, script: Script, home: Home, **settings: Any) -> RunningNode:
    node = RunningNode(tmp_path / "data", make_engine=script.make_engine, read_table=home.table, **settings)
    node.add_scripted_model()
    return node


async def choose(node: RunningNode, *, is_on: bool) -> None:
    """Choose as the app does. The node looks at its addresses at once, too."""
    body = {"is_on": is_on}
    answer = await node.http.post(f"{node.url}/v1/local-network", json=body, headers=node.bearer)
    status = msgspec.json.decode(answer.content, type=NodeStatus)
    assert status.local_network is is_on


async def until_published(node: RunningNode, *addresses: str) -> None:
    async def is_so() -> bool:
        hosts = [candidate.host for candidate in (await node.status()).candidates]
        return hosts == [*addresses, "localhost"]

    await node.until(is_so)


def port_of(node: RunningNode) -> int:
    return int(node.url.rpartition(":")[2])


async def call(node: RunningNode, home: Home, address: str, **headers: str) -> httpx.Response:
    given = {"Host": f"{address}:{port_of(node)}", **{name.capitalize(): value for name, value in headers.items()}}
    return await node.http.get(f"http://{home.reach(address)}:{port_of(node)}/healthz", headers=given)


async def test_D3_nobody_listens_on_the_network_until_its_owner_says_so(node: RunningNode, home: Home) -> None:
    address = home.add(1)
    assert [candidate.kind for candidate in (await node.status()).candidates] == ["loopback"]
    with pytest.raises(httpx.ConnectError):
        await call(node, home, address)
    await choose(node, is_on=True)
    await until_published(node, address)
    assert (await call(node, home, address)).status_code == 200
    await choose(node, is_on=False)
    await until_published(node)
    with pytest.raises(httpx.TransportError):
        await call(node, home, address)


async def test_D3_nobody_listens_for_a_node_that_serves_nobody(tmp_path: Path, script: Script, home: Home) -> None:
    address = home.add(1)
    node = made_node(tmp_path, script, home, local_network=True)
    await node.start()
    with pytest.raises(httpx.ConnectError):
        await call(node, home, address)
    await node.stop()


async def test_D3_the_choice_outlives_a_restart(node: RunningNode, home: Home) -> None:
    address = home.add(1)
    await choose(node, is_on=True)
    await node.restart()
    await until_published(node, address)


async def test_D3_a_setting_wins_and_says_so(tmp_path: Path, script: Script, home: Home) -> None:
    node = made_node(tmp_path, script, home, local_network=False)
    await node.grant(node.account)
    await node.start()
    answer = await node.http.post(f"{node.url}/v1/local-network", json={"is_on": True}, headers=node.bearer)
    assert (answer.status_code, answer.json()["code"]) == (409, "local_network_fixed")
    await node.stop()


async def test_D1_an_address_that_comes_is_published_and_one_that_goes_is_closed(node: RunningNode, home: Home) -> None:
    first = home.add(1)
    await choose(node, is_on=True)
    await until_published(node, first)
    second = home.add(2)
    home.remove(first)
    await choose(node, is_on=True)
    await until_published(node, second)
    assert (await call(node, home, second)).status_code == 200
    with pytest.raises(httpx.TransportError):
        await call(node, home, first)


async def test_N12_the_tunnel_is_asked_at_once_when_the_machine_has_moved(
    tmp_path: Path, script: Script, home: Home
) -> None:
    home.add(1)
    async with TunnelServer().running() as server:
        node = made_node(tmp_path, script, home, server_url=server.url)
        await node.grant(node.account)
        await node.start()
        peer = await server.peer()
        second = home.add(2)
        await choose(node, is_on=True)
        await peer.next(FrameType.PING)
        while True:
            status = msgspec.msgpack.decode((await peer.next(FrameType.STATUS)).payload, type=NodeStatus)
            if second in {candidate.host for candidate in status.candidates}:
                break
        await node.stop()


async def test_D4_the_owner_is_told_where_the_pc_is_found_and_what_the_server_sees(
    tmp_path: Path, script: Script, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "inference_node.network.network")
    address = home.add(1)
    async with TunnelServer(sees_at="93.184.216.34").running() as server:
        node = made_node(tmp_path, script, home, server_url=server.url)
        await node.grant(node.account)
        await node.start()
        port = port_of(node)

        async def is_told(*lines: str) -> None:
            async def are_there() -> bool:
                return {f"found {line}" for line in lines} <= {record.message for record in caplog.records}

            await node.until(are_there)

        at_home = f"from the network at home: http://{address}:{port} (lo)"
        outside = f"from elsewhere: through the server, {server.url}, which sees this PC at 93.184.216.34, likely its"
        closed = f"{at_home}, which is closed. To open it: {SWITCH_ON}"
        await is_told(f"on this PC: http://localhost:{port}", closed)
        await is_told(f"{outside} router: devices seen there are taken to be at home")
        # What has not changed is not said again.
        caplog.clear()
        await choose(node, is_on=True)
        await is_told(at_home)
        assert not any("elsewhere" in record.message or "on this PC" in record.message for record in caplog.records)
        seen = seen_at(node.settings.seen_at)
        assert seen is not None
        assert (seen.server_url, seen.address) == (server.url, "93.184.216.34")
        await node.stop()


async def test_D3_hosts_and_origins_are_those_that_were_published(node: RunningNode, home: Home) -> None:
    address, other = home.add(1), home.add(2)
    await choose(node, is_on=True)
    await until_published(node, address, other)
    port = port_of(node)
    hosts = ["", "localhost", f"localhost:{port}", address, f"{address}:{port + 1}", f"{address}.evil.test:{port}"]
    # The other address is published, too, and still another place.
    for host in [*hosts, f"{other}:{port}", f"127.0.0.1:{port}", f"0.0.0.0:{port}", f"{address}:{port}, x"]:
        answer = await call(node, home, address, host=host)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin"), host
    for origin in ["null", f"http://{address}:{port}", f"{ORIGIN}.evil.test", f"{ORIGIN}1", ORIGIN.upper(), "*"]:
        answer = await call(node, home, address, origin=origin)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin"), origin
        assert "access-control-allow-origin" not in answer.headers
    answer = await call(node, home, address, origin=ORIGIN)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)


async def test_D3_the_network_sees_nothing_of_what_is_for_this_pc_alone(node: RunningNode, home: Home) -> None:
    address = home.add(1)
    await choose(node, is_on=True)
    await until_published(node, address)
    for path in ("/metrics", "/openapi.json", "/v1/models"):
        answer = await node.http.get(f"http://{home.reach(address)}:{port_of(node)}{path}", headers=node.bearer)
        assert {name: answer.headers.get(name) for name in SAFE_HEADERS} == SAFE_HEADERS
        assert answer.status_code in {403, 404}, path


async def test_D2_a_name_with_a_certificate_comes_first_and_is_renewed(
    tmp_path: Path, script: Script, home: Home
) -> None:
    address, tls_port = home.add(1), free_port()
    chain, key = write_certificate(tmp_path, NAME)
    settings = {"tls_port": tls_port, "tls_chain": chain, "tls_key": key, "local_network": True}
    node = made_node(tmp_path, script, home, **settings)
    await node.grant(node.account)
    await node.start()
    await until_published(node, NAME, address)
    assert (await node.status()).candidates[0] == Candidate("https", NAME, tls_port, "name")
    first = chain.read_bytes()
    assert await presented(node, home.reach(address), tls_port) == first
    answer = await ask_by_name(home.reach(address), tls_port, first, f"{NAME}:{tls_port}")
    assert answer.status_code == 200
    answer = await ask_by_name(home.reach(address), tls_port, first, f"{address}:{tls_port}")
    assert answer.status_code == 403
    # Renewed on the disk, and half written: the old one stays until the new one is whole.
    key.write_bytes(b"half a key")
    await choose(node, is_on=True)
    assert await presented(node, home.reach(address), tls_port) == first
    write_certificate(tmp_path, NAME)
    await choose(node, is_on=True)

    async def is_renewed() -> bool:
        return await presented(node, home.reach(address), tls_port) == chain.read_bytes()

    await node.until(is_renewed)
    await node.stop()


async def ask_by_name(address: str, port: int, chain: bytes, host: str) -> httpx.Response:
    trusted = ssl.create_default_context(cadata=chain.decode())
    async with httpx.AsyncClient(trust_env=False, verify=trusted) as client:
        url = f"https://{address}:{port}/healthz"
        return await client.get(url, headers={"Host": host}, extensions={"sni_hostname": NAME})


async def presented(node: RunningNode, address: str, port: int) -> bytes:
    """Return the certificate that somebody sees there."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, (address, port))
    return pem.encode()


def write_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a new certificate for the name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("*.home.example")])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    chain_path, key_path = folder / "chain.pem", folder / "key.pem"
    chain_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_path.write_bytes(private)
    return chain_path, key_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
