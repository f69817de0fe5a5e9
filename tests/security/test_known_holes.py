"""What was published of programs like this one, tried on this one; `known_holes.py` names the tests elsewhere too."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import pytest

from inference_node.accelerator import accelerated
from inference_node.engines.child_engine import ChildEngine
from inference_node.engines.engine import ChatMessage, EngineOptions, Finished, Prompt
from shared.errors import DomovoiError
from shared.values import Sampling
from tests.accel import tiny_models
from tests.benchmarks.revocation import measure
from tests.inference_node.gguf_file import write_gguf
from tests.security.calling import verdict_of
from tests.security.known_holes import HOLES, Hole
from tests.security.raw_http import verdict_of_request
from tests.security.test_bad_tokens import DOORS, TOKENS, forger, presented
from tests.security.vectors import table
from tests.structure.tracked import ROOT
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.security.household import Household
    from tests.security.route_tables import Place

MEBIBYTE = 1024 * 1024
# Each would write a file, or show one, where a template is Python.
TEMPLATES = {
    "globals": "{{ cycler.__init__.__globals__.os.popen('touch CANARY').read() }}",
    "classes": "{% for c in ''.__class__.__mro__[1].__subclasses__() %}{{ c('touch CANARY', shell=True) }}{% endfor %}",
    "include": "{% include '/etc/passwd' %}{% import 'os' as os %}{{ os.system('touch CANARY') }}",
}
# These would keep a machine busy for hours, or fill its memory.
BOMBS = {
    "range": "{% for i in range(10**9) %}{% endfor %}",
    "text": "{{ 'x' * 10**10 }}",
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
}
HARMLESS = "{% for message in messages %}{{ message.content }}{% endfor %}"


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: hole.name)
def test_the_tests_that_look_for_a_hole_are_there(hole: Hole) -> None:
    for test in hole.tests:
        file, _, name = test.partition("::")
        assert name in (ROOT / file).read_text("utf-8"), test


@pytest.mark.parametrize("place", DOORS)
def test_algorithm_confusion_a_public_key_is_no_secret(household: Household, place: Place) -> None:
    confused = [vector for vector in TOKENS if vector.id.startswith(("alg-", "hs256-"))]
    assert len(confused) > 10
    tokens = {vector.id: forger(household, place).token(vector.input) for vector in confused}
    verdicts = {name: presented(household, place, token).verdict for name, token in tokens.items()}
    assert set(verdicts.values()) == {"401 token_invalid"}, verdicts
    assert presented(household, place, forger(household, place).token({})).verdict == "200"


def test_one_token_for_two_apis_each_opens_its_own_alone(household: Household) -> None:
    pairs: list[tuple[Place, Place]] = [("server", "loopback"), ("loopback", "server"), ("server", "sealed")]
    for mine, others in pairs:
        token = household.own_token(mine)
        assert presented(household, mine, token).verdict == "200"
        assert presented(household, others, token).verdict == "401 token_invalid"


def test_live_socket_after_revocation_every_stream_that_is_open_ends(household: Household) -> None:
    # Raises AssertionError for one that goes on. How long each took is for the benchmark to say.
    delays = measure(household, 1)
    assert {kind: len(values) for kind, values in delays.items()} == {
        "server": 1,
        "node, direct": 1,
        "node, relayed": 1,
    }


@pytest.mark.usefixtures("nothing_is_lost")
def test_dns_rebinding_a_name_that_leads_here_is_not_ours(household: Household) -> None:
    _try_all(household, "host-")


@pytest.mark.usefixtures("nothing_is_lost")
def test_cross_site_calls_to_a_local_api_change_nothing(household: Household) -> None:
    _try_all(household, "origin-")


def _try_all(household: Household, prefix: str) -> None:
    strange = [vector for vector in table("http") if vector.id.startswith(prefix)]
    assert len(strange) > 5
    for vector in strange:
        for place in vector.input.get("at", ["server", "loopback"]):
            assert verdict_of_request(household, place, vector.input) == vector.verdict, vector.id


def test_hard_coded_key_two_servers_have_no_secret_in_common(household: Household, tmp_path: Path) -> None:
    other = RunningServer(tmp_path / "data")
    try:
        published = [other.client().get("/.well-known/jwks.json").json() for other in (household.server, other)]
        keys = [{key["x"] for key in (*one["keys"], one["root"])} for one in published]
        assert keys[0] & keys[1] == set()
        assert published[0]["issuer"] != published[1]["issuer"]
        folders = [server.settings.data / "keys" for server in (household.server, other)]
        files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
        assert set(files[0]) == set(files[1])
        assert [name for name in files[0] if files[0][name] == files[1][name]] == []
        refused = other.client().get("/api/v1/devices", headers=household.owner.bearer)
        assert verdict_of(refused) == "401 token_invalid"
    finally:
        other.stop()


def test_model_path_traversal_no_name_leads_out_of_the_folder(household: Household) -> None:
    outside = write_gguf(household.thread.models.parent / "outside.gguf")
    names = [
        "../outside.gguf",
        "../outside",
        "..\\outside.gguf",
        "./../outside.gguf",
        "Test-Model.gguf/../../outside.gguf",
        "%2e%2e%2foutside.gguf",
        str(outside),
        f"file://{outside}",
        "../outside.gguf\0.gguf",
        "../node/identity.pem",
    ]
    headers = {"authorization": f"Bearer {household.own_token('loopback')}"}
    api_key = {"authorization": f"Bearer {household.places['api_key']}"}
    for name in names:
        for action in ("use", "remove", "load", "unload"):
            url = f"{household.thread.url}/v1/library/{action}"
            assert verdict_of(household.http.post(url, json={"model": name}, headers=headers)) == "404 model_missing"
        pull = household.http.post(f"{household.thread.url}/v1/library/pull", json={"id": name}, headers=headers)
        assert verdict_of(pull) == "404 model_unknown"
        chat = {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
        asked = household.http.post(f"{household.thread.url}/v1/chat/completions", json=chat, headers=api_key)
        assert verdict_of(asked) == "404 model_not_found"
    assert outside.exists()
    assert (household.thread.models.parent / "node" / "identity.pem").exists()


@pytest.mark.parametrize("name", ["llama_cpp", *(["native"] if accelerated else [])])
@pytest.mark.parametrize("template", [*TEMPLATES, "harmless"])
async def test_chat_template_execution_a_models_template_runs_nothing(tmp_path: Path, template: str, name: str) -> None:
    canary = tmp_path / "canary"
    source = TEMPLATES.get(template, HARMLESS).replace("CANARY", str(canary))
    model = tiny_models.write(tmp_path / "Model.gguf", tiny_models.CHAT._replace(template=source))
    engine = ChildEngine(name)
    events: list[object] = []
    # Whether a hostile template is refused, or written as it stands, is the engine's affair.
    with nullcontext() if template == "harmless" else suppress(DomovoiError):
        events += [event async for event in engine.load(model, EngineOptions(context=512, slots=1))]
        prompt = Prompt([ChatMessage("user", "Hello")], Sampling(max_tokens=1))
        events += [event async for event in engine.generate(prompt)]
    await engine.unload()
    assert not canary.exists()
    assert template != "harmless" or isinstance(events[-1], Finished)


@pytest.mark.skipif(not accelerated, reason="accel is not built here: install Rust (cargo), then `make accel`")
@pytest.mark.parametrize("template", [*TEMPLATES, *BOMBS])
def test_chat_template_execution_ours_has_no_python_and_little_patience(tmp_path: Path, template: str) -> None:
    import accel  # noqa: PLC0415

    canary = tmp_path / "canary"
    source = {**TEMPLATES, **BOMBS}[template].replace("CANARY", str(canary))
    started = time.process_time()
    with pytest.raises((accel.BadRequest, accel.Unsupported)):
        accel.render_template(source, b'{"messages":[]}')
    assert time.process_time() - started < 1
    assert not canary.exists()


def test_range_bomb_many_ranges_cost_no_time(household: Household) -> None:
    content = bytes(MEBIBYTE)
    sha256 = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"
    path = f"/api/v1/blobs/{sha256}"
    put = household.owner.request("PUT", path, params={"offset": 0, "size": len(content)}, content=content)
    assert put.status_code == 200
    ranges = ",".join(f"{2 * n}-{2 * n}" for n in range(4000))
    started = time.process_time()
    response = household.owner.request("GET", path, headers={"range": f"bytes={ranges}"})
    # Starlette merged them one by one, in time that grew with their square.
    assert time.process_time() - started < 1
    assert response.status_code in {200, 206}
    assert len(response.content) <= 2 * len(content)
