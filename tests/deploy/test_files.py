"""The files that people copy to their machines are at least well-formed, and say what the program says."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.command import configuration
from shared import limits
from tests import nginx

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
CONTAINERFILE = (DEPLOY / "Containerfile").read_text("utf-8")


@pytest.mark.skipif(nginx.nginx_path() is None, reason="no nginx on this machine: install nginx-light to run this test")
def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    checked = nginx.prepare(tmp_path, port=44300, plain_port=44301, server_port=44302).check()
    assert checked.returncode == 0, checked.stderr


def test_nginx_lets_through_what_the_program_takes() -> None:
    text = nginx.CONFIGURATION.read_text("utf-8")
    assert f"client_max_body_size {limits.MAX_ANSWER_BODY_BYTES // 2**20}m;" in text


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_units_start_the_command_and_give_up_on_wrong_settings(unit: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys keep their case
    parser.read_string(unit.read_text("utf-8"))
    service = parser["Service"]
    assert service["ExecStart"].endswith(("domovoi server", "domovoi node"))
    assert service["RestartPreventExitStatus"] == "78"
    assert service["NoNewPrivileges"] == "yes"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_systemd_knows_every_setting(unit: Path) -> None:
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "Unknown key" not in checked.stderr


def test_containers_mount_and_copy_what_there_is() -> None:
    server = COMPOSE["services"]["server"]["build"]
    assert (DEPLOY / server["context"] / server["dockerfile"]).samefile(DEPLOY / "Containerfile")
    assert "./nginx/domovoi.conf:/domovoi.conf:ro" in COMPOSE["services"]["nginx"]["volumes"]
    # COPY --from takes from another stage, not from the checkout.
    for copied in re.findall(r"^COPY (?!--)(.+) \S+$", CONTAINERFILE, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split()), copied


def test_containers_have_volumes_for_what_must_last() -> None:
    named = {volume.partition(":")[0] for service in COMPOSE["services"].values() for volume in service["volumes"]}
    assert {name for name in named if not name.startswith(".")} == set(COMPOSE["volumes"])


def test_nginx_in_a_container_finds_the_server() -> None:
    edit = re.search(r"sed s/([\d.:]+)/([\w.:]+)/", COMPOSE["services"]["nginx"]["command"][-1])
    assert edit is not None
    assert f"server {edit[1]};" in nginx.CONFIGURATION.read_text("utf-8")
    assert edit[2] == "server:8460"


@pytest.mark.parametrize(
    "text", [path.read_text("utf-8") for path in (DEPLOY / "environment.example", DEPLOY / "compose.yaml", *UNITS)]
)
def test_every_setting_named_is_one_the_command_reads(text: str) -> None:
    assert set(re.findall(r"DOMOVOI_[A-Z_]+", text + CONTAINERFILE)) <= set(configuration._ENVIRONMENT.values())


@pytest.mark.skipif(shutil.which("systemd-run") is None, reason="no systemd-run on this machine")
def test_systemd_run_knows_every_option_of_the_pairing_script() -> None:
    script = (DEPLOY / "systemd" / "pair-node").read_text("utf-8")
    options = re.findall(r"--[a-z]+", script)
    assert options
    known = subprocess.run(["systemd-run", "--help"], capture_output=True, text=True, check=True).stdout
    assert [option for option in options if not re.search(rf"{option}\b", known)] == []
