from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.command.configuration import ConfigurationError, load

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
