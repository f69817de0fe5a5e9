from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from shared.errors import StartupError
from tests.sync_server.device import Device
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sync_server.running_server import StartServer


def test_a_busy_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(StartupError, match=rf"Port {port} is busy.*--port"):
            RunningServer(tmp_path, port=port)


def test_a_data_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StartupError, match=r"data folder.*can't be written.*DOMOVOI_DATA"):
        RunningServer(tmp_path / "file" / "data")


def test_a_database_file_that_can_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="database can't be used"):
        RunningServer(tmp_path / "data", database_url=f"sqlite:///{tmp_path}/missing/server.db")


def test_an_unreachable_database(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    with pytest.raises(StartupError, match=r"Start the database.*DOMOVOI_DATABASE_URL") as failure:
        RunningServer(tmp_path, database_url=f"mariadb://user:hidden-word@127.0.0.1:{free}/domovoi")
    assert "hidden-word" not in str(failure.value)


@pytest.mark.parametrize("url", ["postgresql://x/y", "mysql://localhost", "nonsense", "sqlite://"])
def test_a_database_that_is_not_spoken(tmp_path: Path, url: str) -> None:
    with pytest.raises(StartupError, match=r"DOMOVOI_DATABASE_URL.*mysql://user"):
        RunningServer(tmp_path, database_url=url)


def test_keys_are_private_and_outlive_a_restart(start_server: StartServer) -> None:
    running = start_server()
    owner = running.first_account()
    keys = running.settings.data / "keys"
    if os.name == "posix":
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    assert {path.name for path in keys.iterdir()} == {"issuer", "refresh.key", "root.pem", "ring.json"}
    again = running.started_again()
    assert owner.request("GET", "/api/v1/devices").status_code == 200
    again.stop()


def test_a_damaged_key_stops_the_start(tmp_path: Path) -> None:
    RunningServer(tmp_path).stop()
    (tmp_path / "keys" / "root.pem").write_text("damaged")
    with pytest.raises(StartupError, match=r"is damaged.*backup"):
        RunningServer(tmp_path)


def test_several_servers_may_start_at_once_over_one_folder(
    new_database: Callable[[], str | None], tmp_path: Path
) -> None:
    url = new_database()
    with ThreadPoolExecutor(4) as threads:
        running = list(threads.map(lambda _: RunningServer(tmp_path, database_url=url), range(4)))
    try:
        key_sets = [server.client().get("/.well-known/jwks.json").json() for server in running]
        same = [(key_set["keys"], key_set["root"]) for key_set in key_sets]
        assert same == same[:1] * 4, "one of them made the keys"
        owner = running[0].first_account()
        other = [Device.logged_in(server.client, "Owner") for server in running[1:]]
        owner.write()
        assert [device.pull().head for device in other] == [1, 1, 1]
    finally:
        for server in running:
            server.stop()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
def test_a_stop_signal_ends_it_and_closes_the_database(tmp_path: Path) -> None:
    script = "import asyncio, sys, pathlib, sync_server.main as m, sync_server.settings as s\n"
    script += (
        "asyncio.run(m.serve(s.ServerSettings(pathlib.Path(sys.argv[1]), port=0), lambda url: print(url, flush=True)))"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"http://localhost:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in {0, -signal.SIGTERM}
    assert not (tmp_path / "server.db-wal").exists(), "the log is folded into the file"
