"""Rule L21: a restored backup begins a new history, and what devices still have comes back to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
from typer.testing import CliRunner

from deploy.command.application import application
from shared.canonical import FIRST_HASH
from shared.wire import Push
from tests.sync_server.device import Device, code_of

if TYPE_CHECKING:
    import pytest

    from tests.sync_server.running_server import RunningServer, StartServer


def restored(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    """Stop the server, do what the operator does, and return it started again."""
    monkeypatch.setenv("DOMOVOI_DATABASE_URL", server.settings.database_url or "")
    clients, server._clients = server._clients, []
    port = server.port
    server.stop()
    result = CliRunner().invoke(application, ["server", "restored", "--data", str(server.settings.data)])
    assert result.exit_code == 0, result.output
    assert "1 account(s)" in result.output
    again = type(server)(**{**vars(server.settings), "port": port})
    again._clients = clients
    return again


def test_L21_every_login_ends_and_the_history_is_another(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    owner = server.first_account()
    change = owner.write(b"kept")
    again = restored(server, monkeypatch)
    try:
        assert code_of(owner.request("GET", "/api/v1/sync/pull"))[0] == 401
        assert code_of(owner.http.post("/api/v1/auth/refresh")) == (401, "login_ended")
        same = Device.logged_in(again.client, "Owner", device_id=owner.session.device_id)
        assert same.device_id == owner.device_id
        assert same.epoch != owner.epoch
        response = same.request("GET", "/api/v1/sync/pull", params={"since": 1, "epoch": owner.epoch})
        assert code_of(response) == (410, "epoch_changed")
        assert [kept.clk for kept in same.pull().changes] == [change.clk]
    finally:
        again.stop()


def test_L21_what_the_backup_lacks_is_offered_with_its_old_clock(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device goes on with its own log where the server has it, and another device offers what it read."""
    server = start_server()
    owner = server.first_account()
    eid = os.urandom(16)
    owner.write(b"in the backup", eid=eid)
    lost = owner.change(b"written after it", eid=eid)
    again = restored(server, monkeypatch)
    try:
        same = Device.logged_in(again.client, "Owner", device_id=owner.session.device_id)
        same.dseq, same.hash = owner.dseq, owner.hash
        assert same.push(lost).rejected == []
        reader = Device.logged_in(again.client, "Owner")
        batch = Push(reader.epoch, 1, FIRST_HASH, [lost])
        assert reader.send(batch).status_code == 200
        [cell] = reader.pull().changes
        assert (cell.clk, cell.value) == (lost.clk, lost.value)
        assert msgspec.msgpack.decode(reader.send(batch).content)["head"] == 2, "offered twice, stored once"
    finally:
        again.stop()
