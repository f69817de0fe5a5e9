"""`domovoi node pair` over real processes: a server, and a PC that shares nothing with it but the network."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.deploy.command_line import domovoi
from tests.end_to_end.household import Household, free_port, wait_until
from tests.end_to_end.pair_command import PairCommand
from tests.structure.tracked import ROOT
from tests.sync_server.device import PASSWORD, Device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXIT_STARTUP = 78
WITHIN_S = 60.0
SCRIPT = ROOT / "deploy" / "systemd" / "pair-node"


class App:
    """The account's side, as the app's calls make it."""

    def __init__(self, house: Household, username: str = "Vera", **how: str) -> None:
        self.url = house.url
        self._clients: list[httpx.Client] = []
        self.device = Device.registered(self._client, username, **how)
        self.begun: dict[str, Any] = {}

    def _client(self) -> httpx.Client:
        self._clients.append(httpx.Client(base_url=self.url, trust_env=False, timeout=WITHIN_S))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def code(self) -> str:
        self.begun = self.device.request("POST", "/api/v1/pairing", json={"password": PASSWORD}).json()
        return str(self.begun["code"])

    def pending(self) -> dict[str, Any]:
        looked: dict[str, Any] = self.device.request("GET", self._address).json()
        assert looked["stage"] == "pending", looked
        return looked

    def confirm(self) -> None:
        body = {"check": self.pending()["check"]}
        assert self.device.request("POST", f"{self._address}/confirm", json=body).status_code == 200

    def refuse(self) -> None:
        assert self.device.request("DELETE", self._address).status_code == 204

    def awake(self) -> list[bool]:
        return [node["awake"] for node in self.device.request("GET", "/api/v1/nodes").json()["nodes"]]

    def unpair(self) -> None:
        [node] = self.device.request("GET", "/api/v1/nodes").json()["nodes"]
        assert self.device.request("DELETE", f"/api/v1/nodes/{node['node_id']}").status_code == 204

    @property
    def _address(self) -> str:
        return f"/api/v1/pairing/{self.begun['pairing_id']}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    house = Household(tmp_path_factory.mktemp("vps") / "data")
    house.start("server")
    yield house
    house.stop_all()


@pytest.fixture(scope="module")
def app(server: Household) -> Iterator[App]:
    made = App(server, setup_code=server.setup_code)
    yield made
    made.close()


@pytest.fixture
def pc(tmp_path: Path, server: Household) -> Iterator[Household]:
    house = Household(tmp_path / "pc", port=free_port())
    yield house
    house.stop_all()


@pytest.fixture
def commands() -> Iterator[list[PairCommand]]:
    """What was started and must end with the test."""
    started: list[PairCommand] = []
    yield started
    for command in started:
        command.kill()


def test_P5_a_node_that_runs_unpaired_joins_once_it_is_paired(
    server: Household, app: App, pc: Household, commands: list[PairCommand]
) -> None:
    pc.start("node")
    wait_until(lambda: "not paired with a server" in pc.log("node"), "a word about pairing")
    assert "domovoi node pair" in pc.log("node")

    command = PairCommand(pc, server.url)
    commands.append(command)
    command.type(app.code())
    assert command.digits() == app.pending()["check"]
    assert app.awake() == [], "nobody has said yes"
    app.confirm()
    assert command.end() == 0, command.said
    assert "Paired with the account of Vera." in command.said
    wait_until(lambda: app.awake() == [True], "the tunnel")

    # It is remembered, and so is the server's root key: a start without any word finds the way.
    pc.stop("node")
    wait_until(lambda: app.awake() == [False], "the end of the tunnel")
    pc.start("node")
    wait_until(lambda: app.awake() == [True], "the tunnel after a new start")

    # Another person of the house pairs the same PC: it serves both, by the tunnel that there is.
    link = domovoi("users", "invite", data=server.data).out
    other = App(server, "Mitya", invitation=link.strip().rpartition("=")[2])
    command = PairCommand(pc, server.url, other.code())
    commands.append(command)
    assert command.digits() == other.pending()["check"]
    assert other.pending()["level"] == "use"
    other.confirm()
    assert command.end() == 0, command.said
    wait_until(lambda: "this node serves 2 account(s)" in pc.log("node"), "the second grant")
    assert other.awake() == [True]
    other.unpair()
    other.close()
    assert app.awake() == [True]

    app.unpair()
    assert app.awake() == []
    wait_until(lambda: "this node serves 0 account(s)" in pc.log("node"), "the end of the grant")


def test_P4_a_refused_pc_keeps_nothing(server: Household, app: App, pc: Household, commands: list[PairCommand]) -> None:
    command = PairCommand(pc, server.url, app.code())
    commands.append(command)
    command.digits()
    app.refuse()
    assert command.end() == EXIT_STARTUP
    assert "It was refused in the app." in command.said
    assert not (pc.data / "node" / "server.json").exists()


def test_P1_a_wrong_code_says_what_to_do(
    server: Household, app: App, pc: Household, commands: list[PairCommand]
) -> None:
    app.code()
    command = PairCommand(pc, server.url, "AAAA-AAAA-AAAA-AAAA")
    commands.append(command)
    assert command.end() == EXIT_STARTUP
    assert "That is not a pairing code of this server. Check it against the app" in command.said


@pytest.mark.parametrize("address", ["ftp://example.org", "https://user@example.org", "https://example.org/path", "//"])
def test_what_is_no_address_is_refused(pc: Household, commands: list[PairCommand], address: str) -> None:
    command = PairCommand(pc, address, "AAAA-AAAA-AAAA-AAAA")
    commands.append(command)
    assert command.end() == EXIT_STARTUP
    assert "is not the address of a server" in command.said


def test_a_server_that_is_away_is_named(pc: Household, commands: list[PairCommand]) -> None:
    address = f"http://localhost:{free_port()}"
    command = PairCommand(pc, address, "AAAA-AAAA-AAAA-AAAA")
    commands.append(command)
    assert command.end() == EXIT_STARTUP
    assert f"No Domovoi server answers at {address}" in command.said


def test_a_pc_has_one_server(
    server: Household, app: App, pc: Household, commands: list[PairCommand], tmp_path: Path
) -> None:
    # The first time as deploy/README.md says: by the script for PCs where systemd runs the node.
    stand_in = tmp_path / "bin" / "systemd-run"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!{sys.executable}\nfrom tests.deploy.systemd_run import main\n\nmain()\n")
    stand_in.chmod(0o700)
    environment = {
        "PATH": f"{stand_in.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "STAND_IN_DATA": str(pc.data),
    }
    command = PairCommand(pc, server.url, app.code(), through=[str(SCRIPT)], **environment)
    commands.append(command)
    command.digits()
    app.confirm()
    assert command.end() == 0, command.said
    other = f"http://localhost:{free_port()}"
    again = PairCommand(pc, other, "AAAA-AAAA-AAAA-AAAA")
    commands.append(again)
    assert again.end() == EXIT_STARTUP
    assert f"This PC is paired with {server.url}" in again.said
    assert "--instead" in again.said
