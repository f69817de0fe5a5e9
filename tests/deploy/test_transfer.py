"""`domovoi export` and `domovoi import` with the real server: all comes along, and twice is once."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from deploy.command.application import application
from shared import values
from shared.change import AttachmentField, EntityType, MessageField, cell_key
from tests.sync_server.conftest import cheap_passwords
from tests.sync_server.device import PASSWORD
from tests.sync_server.running_server import RunningServer
from tests.sync_server.test_blobs import path_of, put
from tests.sync_server.test_purges import purge_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.change import CellKey
    from tests.sync_server.device import Device

__all__ = ["cheap_passwords"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cheap_passwords: None) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("server") / "data")
    running.first_account()
    yield running
    running.stop()


@pytest.fixture
def filled(server: RunningServer) -> Device:
    """An account with a message, an attachment, something unknown, and a purged conversation."""
    device = server.new_account(f"Writer {os.urandom(4).hex()}")
    scope, purged = os.urandom(16), os.urandom(16)
    content = os.urandom(1000)
    put(device, content, content)
    device.push(
        device.change(values.encode("Привет 🔥"), etype=EntityType.MESSAGE, field=MessageField.BODY, scope=scope),
        device.change(
            values.encode(hashlib.sha256(content).digest()), etype=EntityType.ATTACHMENT, field=AttachmentField.BLOB
        ),
        device.change(b"\xc1 not MessagePack", etype=999, field=77),
        device.change(scope=purged),
        purge_of(device, purged),
    )
    return device


def run(server: RunningServer, command: str, device: Device, file: Path) -> str:
    arguments = [command, str(file), "--username", device.session.username, "--server-url", server.url]
    result = CliRunner().invoke(application, arguments, input=PASSWORD + "\n", catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def cells(device: Device) -> dict[CellKey, tuple[bytes, bytes, bytes]]:
    return {cell_key(change): (change.clk, change.scope, change.value) for change in device.pull().changes}


def test_everything_comes_along_and_twice_is_once(server: RunningServer, filled: Device, tmp_path: Path) -> None:
    file = tmp_path / "export.zip"
    assert "4 changes and 1 files are in" in run(server, "export", filled, file)
    reader = server.new_account(f"Reader {os.urandom(4).hex()}")
    assert "4 changes and 1 files were new" in run(server, "import", reader, file)
    assert cells(reader) == cells(filled)
    head = reader.pull().head
    assert "0 changes and 0 files were new" in run(server, "import", reader, file)
    assert reader.pull().head == head
    assert "0 changes and 0 files were new" in run(server, "import", filled, file)
    with zipfile.ZipFile(file) as archive:
        [name] = [name for name in archive.namelist() if name.startswith("blobs/")]
        content = archive.read(name)
    assert reader.request("GET", path_of(content)).content == content


def test_the_file_is_what_the_page_says(server: RunningServer, filled: Device, tmp_path: Path) -> None:
    file = tmp_path / "export.zip"
    run(server, "export", filled, file)
    with zipfile.ZipFile(file) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        lines = [json.loads(line) for line in archive.read("changes.jsonl").splitlines()]
    assert (manifest["format"], manifest["version"], manifest["changes"], manifest["blobs"]) == (
        "domovoi-export",
        1,
        4,
        1,
    )
    [message] = [line for line in lines if line["etype"] == EntityType.MESSAGE]
    assert (message["reads"], message["field"], message["kid"]) == ("Привет 🔥", 2, 0)
    [unknown] = [line for line in lines if line["etype"] == 999]
    assert unknown["reads"] is None


def test_newer_changes_of_the_account_win_and_purged_ones_stay_away(
    server: RunningServer, filled: Device, tmp_path: Path
) -> None:
    file = tmp_path / "export.zip"
    run(server, "export", filled, file)
    message = next(change for change in filled.pull().changes if change.etype == EntityType.MESSAGE)
    newer = filled.write(b"\xa5newer", etype=message.etype, eid=message.eid, field=message.field, scope=message.scope)
    assert "0 changes" in run(server, "import", filled, file)
    assert cells(filled)[cell_key(newer)][0] == newer.clk
    filled.push(purge_of(filled, message.scope))
    before = cells(filled)
    run(server, "import", filled, file)
    assert cells(filled) == before


def test_the_tool_leaves_no_device_behind(server: RunningServer, filled: Device, tmp_path: Path) -> None:
    run(server, "export", filled, tmp_path / "export.zip")
    assert len(filled.request("GET", "/api/v1/devices").json()["devices"]) == 1


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_what_is_no_export_is_said_so(server: RunningServer, filled: Device, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.zip"
    if content is None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("manifest.json", '{"username":"x","account_id":"","exported_ms":1,"format":"tar"}')
    else:
        file.write_bytes(content)
    arguments = ["import", str(file), "--username", filled.session.username, "--server-url", server.url]
    result = CliRunner().invoke(application, arguments, input=PASSWORD + "\n")
    assert "Take a file that domovoi export has written" in str(result.exception)


def test_of_a_damaged_file_nothing_is_taken_in(server: RunningServer, filled: Device, tmp_path: Path) -> None:
    file, damaged = tmp_path / "export.zip", tmp_path / "damaged.zip"
    run(server, "export", filled, file)
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("manifest.json", whole.read("manifest.json"))
        archive.writestr("changes.jsonl", whole.read("changes.jsonl") + b'{"clk": "00"}\n')
    reader = server.new_account(f"Reader {os.urandom(4).hex()}")
    arguments = ["import", str(damaged), "--username", reader.session.username, "--server-url", server.url]
    result = CliRunner().invoke(application, arguments, input=PASSWORD + "\n")
    assert "line 5 of changes.jsonl" in str(result.exception)
    assert reader.pull().changes == []
