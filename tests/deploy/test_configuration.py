from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.command.configuration import ConfigurationError, load
from inference_node.server.paired_server import remember_server
from shared.errors import StartupError

if TYPE_CHECKING:
    from pathlib import Path


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    (tmp_path / "domovoi.toml").write_text('port = 1001\nnode_port = 1002\nmodel = "from-file"\n')
    environment = {"DOMOVOI_DATA": str(tmp_path), "DOMOVOI_PORT": "2001", "DOMOVOI_NODE_PORT": "2002"}
    configuration = load({"port": 3001, "node_port": None}, environment)
    assert (configuration.port, configuration.node_port, configuration.model) == (3001, 2002, "from-file")
    assert configuration.host == "127.0.0.1"


def test_the_data_folder_of_the_flag_decides_which_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "domovoi.toml").write_text("port = 1001\n")
    assert load({"data": tmp_path}, {"DOMOVOI_DATA": "/elsewhere"}).port == 1001


@pytest.mark.parametrize("port", ["0", "65536", "-1", "eight", ""])
def test_a_port_that_is_none_is_named(tmp_path: Path, port: str) -> None:
    with pytest.raises(ConfigurationError, match="port in the flags"):
        load({"data": tmp_path, "port": port}, {})


@pytest.mark.parametrize("text", ["port = ", "port = [\n", "\x00"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "domovoi.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"domovoi\.toml can't be read"):
        load({"data": tmp_path}, {})


def test_an_unknown_setting_is_named_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "domovoi.toml").write_text("prot = 9000\n")
    with pytest.raises(ConfigurationError, match=r"'prot' in the file.*port"):
        load({"data": tmp_path}, {})


def test_the_node_lets_in_the_apps_own_addresses_only(tmp_path: Path) -> None:
    configuration = load({"data": tmp_path, "port": 9000, "public_url": "https://home.example"}, {})
    assert configuration.node().allowed_origins == ("http://localhost:9000", "https://home.example")
    assert configuration.node().server_url == "http://localhost:9000"


ROOT = bytes(range(32))


def test_a_paired_node_finds_its_server_and_its_root(tmp_path: Path) -> None:
    remember_server(tmp_path, "https://home.example", ROOT)
    node = load({"data": tmp_path}, {}).node()
    assert (node.server_url, node.server_root) == ("https://home.example", ROOT)
    assert "https://home.example" in node.allowed_origins


def test_a_server_that_is_named_is_another_one(tmp_path: Path) -> None:
    remember_server(tmp_path, "https://home.example", ROOT)
    named = load({"data": tmp_path, "server_url": "http://localhost:8460"}, {}).node()
    assert (named.server_url, named.server_root) == ("http://localhost:8460", None)
    same = load({"data": tmp_path}, {"DOMOVOI_SERVER_URL": "https://home.example"}).node()
    assert same.server_root == ROOT


@pytest.mark.parametrize("text", ["", "{}", '{"url": "https://home.example", "root": "AA"}'])
def test_a_damaged_pairing_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "server.json").write_text(text)
    with pytest.raises(StartupError, match="domovoi node pair"):
        load({"data": tmp_path}, {})
