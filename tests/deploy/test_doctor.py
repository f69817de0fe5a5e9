"""`domovoi doctor` over houses in which something is wrong, and over one in which all is well."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from deploy.command import machine_checks
from deploy.command.findings import Finding, Report
from inference_node.engines import present as engines
from inference_node.engines.present import EngineReport
from inference_node.hardware.graphics import Card
from inference_node.hardware.limits import Limits
from inference_node.hardware.memory import Memory
from inference_node.hardware.processor import Processor
from inference_node.hardware.survey import Hardware
from inference_node.hardware.temperature import Temperature
from inference_node.network.seen_at import keep_seen_at
from inference_node.network.telling import NOT_YET
from tests.deploy.command_line import domovoi
from tests.end_to_end.household import ROOT, free_port
from tests.inference_node.gguf_file import write_gguf
from tests.inference_node.running_node import RunningNode
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

USABLE = [EngineReport("llama_cpp", "1", 1)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one model, on free ports; engines are tried once for all tests, in the last one."""

    async def usable() -> list[EngineReport]:
        return USABLE

    monkeypatch.setattr("deploy.command.doctor.examine_all", usable)
    monkeypatch.setenv("DOMOVOI_PORT", str(free_port()))
    monkeypatch.setenv("DOMOVOI_NODE_PORT", str(free_port()))
    folder = tmp_path / "data"
    (folder / "models").mkdir(parents=True)
    folder.chmod(0o700)
    write_gguf(folder / "models" / "A-Model.gguf")
    return folder


def examined(data: Path, *, code: int = 0, **environment: str) -> Report:
    said = domovoi("doctor", "--json", data=data, **environment)
    assert said.code == code, said.out
    return msgspec.json.decode(said.out, type=Report)


def about(report: Report, topic: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.topic == topic]


def statuses(report: Report, topic: str) -> list[str]:
    return [finding.status for finding in about(report, topic)]


def test_a_house_in_order(data: Path) -> None:
    report = examined(data)
    assert [finding for finding in report.findings if finding.status == "stop"] == []
    assert report.choice is not None
    assert (report.choice.engine, report.choice.context) == ("llama_cpp", 2048)
    assert [model.name for model in report.models] == ["A Model"]
    assert report.hardware.processor.cores >= 1
    assert all(finding.advice for finding in report.findings if finding.status in {"warning", "stop"})
    # A look changes nothing.
    assert sorted(path.name for path in data.iterdir()) == ["models"]


def test_what_it_prints_for_people(data: Path) -> None:
    said = domovoi("doctor", data=data)
    assert said.code == 0
    for word in ("processor", "memory", "engine", "llama_cpp", "A Model", "port"):
        assert word in said.out


def test_its_json_is_what_its_schema_says(data: Path) -> None:
    schema = msgspec.json.decode(domovoi("doctor", "--schema", data=data).out)
    report: dict[str, Any] = msgspec.json.decode(domovoi("doctor", "--json", data=data).out)
    jsonschema.Draft202012Validator(schema).validate(report)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(report | {"findings": [{"topic": "x"}]})


def test_before_the_first_start(tmp_path: Path) -> None:
    report = examined(tmp_path / "new")
    assert statuses(report, "data") == ["ok"]
    assert statuses(report, "model") == ["note"]
    assert report.choice is None
    assert not (tmp_path / "new").exists()


def test_D4_what_the_server_sees_is_told_when_it_has_said_so(data: Path) -> None:
    last = about(examined(data), "network")[-1]
    assert (last.status, last.what) == ("note", NOT_YET)
    assert "node pair" in last.advice
    keep_seen_at(data / "node" / "seen-at.json", "https://home.example", "93.184.216.34")
    last = about(examined(data), "network")[-1]
    said = "from elsewhere: through the server, https://home.example, which sees this PC at 93.184.216.34, likely its"
    assert last.status == "ok"
    assert last.what.startswith(said)
    assert f"{datetime.now().astimezone():%d %b %Y}" in last.what


def test_a_port_of_another_program_stops_domovoi(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        report = examined(data, code=1, DOMOVOI_NODE_PORT=str(other.getsockname()[1]))
    [server, node] = about(report, "port")
    assert (server.status, node.status) == ("ok", "stop")
    assert "DOMOVOI_NODE_PORT" in node.advice


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_data_folder_that_cannot_be_made_stops_domovoi(data: Path) -> None:
    file = data / "file"
    file.write_text("in the way")
    report = examined(file / "data", code=1)
    assert statuses(report, "data") == ["stop"]


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_a_data_folder_that_others_may_read(data: Path) -> None:
    data.chmod(0o755)
    [finding] = about(examined(data), "data")
    assert (finding.status, finding.advice) == ("warning", f"chmod 700 {data}")


def test_a_damaged_database_stops_domovoi(data: Path) -> None:
    (data / "server.db").write_bytes(b"This is no database. " * 100)
    assert statuses(examined(data, code=1), "database") == ["stop"]


def test_a_database_that_answers(data: Path) -> None:
    with closing(sqlite3.connect(data / "server.db")) as database:
        database.execute("CREATE TABLE account (id)")
    assert statuses(examined(data), "database") == ["ok"]


def test_a_database_that_is_away_stops_domovoi_and_keeps_its_password(data: Path) -> None:
    url = f"mysql://domovoi:secret-word@127.0.0.1:{free_port()}/domovoi"
    said = domovoi("doctor", "--json", data=data, DOMOVOI_DATABASE_URL=url)
    assert said.code == 1
    assert "secret-word" not in said.out + said.err


def test_a_damaged_identity_stops_domovoi(data: Path) -> None:
    (data / "node").mkdir()
    (data / "node" / "identity.pem").write_text("nonsense")
    assert statuses(examined(data, code=1), "data") == ["ok", "stop"]


def test_models_that_are_damaged_or_half_here(data: Path) -> None:
    write_gguf(data / "models" / "bad.gguf").write_bytes(b"<html>")
    [good, bad] = sorted(about(examined(data), "model"), key=lambda finding: finding.status)
    assert (good.status, bad.status) == ("ok", "warning")
    assert bad.advice == "domovoi models remove bad.gguf"


def test_a_setting_for_a_model_that_is_not_there_stops_domovoi(data: Path) -> None:
    assert "stop" in statuses(examined(data, code=1, DOMOVOI_MODEL="nothing"), "model")


def test_a_setting_for_an_engine_that_is_not_there_stops_domovoi(data: Path) -> None:
    assert "stop" in statuses(examined(data, code=1, DOMOVOI_ENGINE="steam"), "engine")


@pytest.mark.parametrize(("days", "status"), [(100, "ok"), (3, "warning"), (-1, "warning")])
def test_a_certificate_and_how_long_it_is_good(data: Path, days: int, status: str) -> None:
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "home.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=9)).not_valid_after(now + timedelta(days=days))
    (data / "keys").mkdir()
    (data / "keys" / "node.crt").write_bytes(builder.sign(key, None).public_bytes(Encoding.PEM))
    assert statuses(examined(data), "certificate") == [status]


@pytest.mark.parametrize("has_model", [True, False])
async def test_with_the_node_running(data: Path, tmp_path: Path, *, has_model: bool) -> None:
    node = RunningNode(tmp_path / "node", make_engine=Script().make_engine)
    if has_model:
        node.add_scripted_model()
    await node.start(wait_for_engine=has_model)
    port = node.url.rpartition(":")[2]
    report = await asyncio.to_thread(examined, data, DOMOVOI_NODE_PORT=port)
    await node.stop()
    [server, running] = about(report, "port")
    assert "does not run" in server.what
    well = ("ok", f"node: runs on {port}, and is well")
    ill = ("warning", f"node: runs on {port}: The model is not on this node.")
    assert (running.status, running.what) == (well if has_model else ill)


@pytest.mark.parametrize(("share", "is_measured"), [(0.0, True), (1.5, False)])
def test_engines_are_measured_on_a_quiet_machine_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch, share: float, *, is_measured: bool
) -> None:
    async def look(within_s: float) -> float:
        return share

    monkeypatch.setattr("deploy.command.doctor.wait_until_quiet", look)
    monkeypatch.setattr("deploy.command.doctor.ChildEngine", Script(context=2000, answer="word " * 99).make_engine)
    said = domovoi("doctor", "--measure", "--json", data=data)
    report = msgspec.json.decode(said.out, type=Report)
    assert report.choice is not None
    assert ("measured here" in report.choice.why) == is_measured
    assert ("Close them" in said.err) != is_measured
    # What was measured is remembered.
    again = examined(data)
    assert again.choice == report.choice


# Machines that are not this one.


def machine(**changes: Any) -> Hardware:
    processor = Processor("Test", "x86_64", ["AVX2"], 16, 16, 8)
    usual = Hardware("Linux", processor, Memory(32 * 10**9, 20 * 10**9), Limits(), [], None, 10**11)
    return msgspec.structs.replace(usual, **changes)


def worst(findings: Iterable[Finding]) -> str:
    found = {finding.status for finding in findings}
    return next(status for status in ("stop", "warning", "note", "ok") if status in found)


@pytest.mark.parametrize(
    ("hardware", "status", "words"),
    [
        (machine(), "ok", "20.0 of 32.0 GB free"),
        (machine(disk_free=10**8), "warning", "0.1 GB free for models"),
        (machine(memory=Memory(4 * 10**9, 10**8)), "warning", "0.1 of 4.0 GB free"),
        (machine(limits=Limits(1.5, 2 * 10**9, 10**9)), "note", "1.5 cores"),
        (machine(limits=Limits(None, 2 * 10**9, 10**9)), "ok", "allows 2.0 of 32.0 GB"),
        (machine(temperature=Temperature(95.0, 100.0)), "warning", "95 °C, slows down at 100"),
        (machine(temperature=Temperature(85.0, 100.0)), "ok", "85 °C"),
        (machine(processor=Processor("Odd", "x86_64", None, 2, 2, 2)), "ok", "not known"),
    ],
)
def test_what_is_said_of_a_machine(hardware: Hardware, status: str, words: str) -> None:
    findings = list(machine_checks.hardware(hardware))
    assert worst(findings) == status
    assert any(words in finding.what for finding in findings)


RTX_4070 = Card("NVIDIA", "RTX 4070", 12 * 10**9, 11 * 10**9, "8.9", "580.65", 41, "GPU-1")


def test_a_card_that_no_engine_uses_is_said_and_nothing_is_promised() -> None:
    [finding] = machine_checks.graphics([RTX_4070], USABLE)
    assert finding.status == "note"
    assert "compute 8.9" in finding.what
    assert "the processor computes" in finding.what


def test_a_card_with_an_engine_is_well() -> None:
    assert [f.status for f in machine_checks.graphics([RTX_4070], [EngineReport("cuda", "1", 0)])] == ["ok"]


def test_a_card_with_a_problem_says_what_to_do() -> None:
    [finding] = machine_checks.graphics([Card("NVIDIA", "RTX", problem="Install the driver.")], USABLE)
    assert (finding.status, finding.advice) == ("warning", "Install the driver.")


def test_no_usable_engine_stops_domovoi() -> None:
    assert worst(machine_checks.engines([EngineReport("llama_cpp", "1", 0, "It is broken.")], None)) == "stop"


# The real thing.


async def test_every_engine_is_tried_and_the_python_fallback_runs() -> None:
    reports = {report.name: report for report in await engines.examine_all()}
    assert reports["llama_cpp"].problem == ""
    assert reports["llama_cpp"].version


async def test_the_native_engine_needs_accel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine_in_rust.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(engines, "ENGINES", {"native": ("engine_in_rust", "Native")})
    monkeypatch.setattr("inference_node.accelerator.accelerated", False)
    [report] = await engines.examine_all()
    assert "make accel" in report.problem
    monkeypatch.setattr("inference_node.accelerator.accelerated", True)
    [report] = await engines.examine_all()
    assert report.problem == ""


async def test_an_engine_that_crashes_is_no_crash_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine_that_dies.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    (tmp_path / "engine_that_raises.py").write_text("raise ImportError('libengine.so is missing')\n")
    monkeypatch.syspath_prepend(tmp_path)
    names = ("engine_that_dies", "engine_that_raises", "engine_that_is_not_there")
    monkeypatch.setattr(engines, "ENGINES", {name: (name, "Engine") for name in names})
    problems = {report.name: report.problem for report in await engines.examine_all()}
    assert "newer processor" in problems["engine_that_dies"]
    assert "libengine.so is missing" in problems["engine_that_raises"]
    assert "not part of this installation" in problems["engine_that_is_not_there"]


def test_as_a_person_runs_it(tmp_path: Path) -> None:
    environment = os.environ | {"DOMOVOI_PORT": str(free_port()), "DOMOVOI_NODE_PORT": str(free_port())}
    command = [sys.executable, "-m", "deploy.command", "doctor", "--data", str(tmp_path / "data"), "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert msgspec.json.decode(done.stdout, type=Report).version == 1
