"""What can be wrong before anything runs: each ends in one sentence that says what to do, never a stack trace."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.household import Household, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
EXIT_STARTUP = 78
WITHIN_S = 60


def run(house: Household, part: str, **environment: str) -> str:
    """Run a part that can't start and return what it says."""
    house.environment = environment
    done = subprocess.run(
        [sys.executable, "-m", "deploy.command", part, *house.flags()],
        cwd=ROOT,
        env=house.full_environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == EXIT_STARTUP, said
    assert "Traceback" not in said
    return " ".join(said.split())


@pytest.fixture
def house(tmp_path: Path) -> Household:
    return Household(tmp_path / "data")


@pytest.mark.parametrize("part", ["server", "node"])
def test_a_busy_port_names_the_port_and_the_flag(house: Household, part: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if part == "server":
            house.port = port
        else:
            house.node_port = port
        said = run(house, part)
    assert f"{port} is " in said
    assert "--port" in said if part == "server" else "--node-port" in said


def below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "data"


def beyond_permission(_: Path) -> Path:
    # Not even root may make folders here.
    return Path("/proc/domovoi")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("place", [below_a_file, beyond_permission], ids=lambda place: str(place.__name__))
@pytest.mark.parametrize("part", ["server", "node", "up"])
def test_a_data_folder_without_write_permission_is_named(
    tmp_path: Path, part: str, place: Callable[[Path], Path]
) -> None:
    house = Household(place(tmp_path))
    said = run(house, part)
    assert str(house.data) in said
    assert "DOMOVOI_DATA" in said


def test_an_unreachable_database_names_its_setting(house: Household) -> None:
    said = run(house, "server", DOMOVOI_DATABASE_URL=f"mysql://domovoi:secret-word@127.0.0.1:{free_port()}/domovoi")
    assert "DOMOVOI_DATABASE_URL" in said
    assert "secret-word" not in said


def test_a_database_url_of_another_kind_is_refused(house: Household) -> None:
    assert "DOMOVOI_DATABASE_URL" in run(house, "server", DOMOVOI_DATABASE_URL="postgres://localhost/domovoi")


def test_a_wrong_port_is_refused(house: Household) -> None:
    assert "port in the environment" in run(house, "server", DOMOVOI_HOST="127.0.0.1", DOMOVOI_PORT="eight")
