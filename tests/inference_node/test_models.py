"""What lies in the models folder, and what of it is offered."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from inference_node.models import download, origins
from inference_node.models.catalogue import DEFAULT_MODEL
from inference_node.models.models import ModelStore, people_name
from inference_node.models.origins import Origin
from shared.errors import Code, DomovoiError
from tests.inference_node.gguf_file import gguf, settle, write_gguf

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now_s = time.time()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> ModelStore:
    (tmp_path / "models").mkdir()
    return ModelStore(tmp_path / "models", chosen=tmp_path / "node" / "default-model", now_s=lambda: clock.now_s)


def states(store: ModelStore) -> dict[str, str]:
    return {found.path.name: found.state for found in store.survey()}


def code_of(store: ModelStore, name: str | None) -> Code:
    with pytest.raises(DomovoiError) as refused:
        store.find(name)
    return refused.value.code


def test_only_files_of_the_folder_are_found(store: ModelStore, tmp_path: Path) -> None:
    write_gguf(tmp_path / "secret.gguf")
    model = write_gguf(store.folder / "My-Model-7B.Q4_K_M.gguf")
    write_gguf(store.folder / "notes.txt")
    for name in ("My-Model-7B.Q4_K_M.gguf", "My-Model-7B.Q4_K_M", "My Model 7B", None):
        assert store.find(name).path == model
    for name in ("../secret.gguf", "../secret", str(tmp_path / "secret.gguf"), "notes", "", "C:\\secret.gguf"):
        assert code_of(store, name) == Code.MODEL_MISSING
    assert store.find_configured(str(tmp_path / "secret.gguf")).path == tmp_path / "secret.gguf"


def test_a_folder_that_is_not_there_has_no_models(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "nowhere")
    assert store.list() == []
    assert code_of(store, None) == Code.MODEL_MISSING


def test_a_file_that_appears_is_found_and_one_that_goes_is_not(store: ModelStore) -> None:
    assert store.list() == []
    path = write_gguf(store.folder / "new.gguf")
    assert [model.path for model in store.list()] == [path]
    path.unlink()
    assert store.list() == []


def test_a_file_that_is_still_copied_is_not_offered(store: ModelStore, clock: Clock) -> None:
    path, content = store.folder / "new.gguf", gguf()
    for length in (0, 3, 500, len(content) - 1):
        path.write_bytes(content[:length])
        assert states(store) == {"new.gguf": "arriving"}
        assert store.list() == []
        assert code_of(store, "new") == Code.MODEL_MISSING
    path.write_bytes(content)
    assert states(store) == {"new.gguf": "arriving"}
    clock.now_s += 3
    assert states(store) == {"new.gguf": "ready"}
    assert store.find("new").header.name == "Test Model"


def test_a_file_that_stays_cut_is_damaged(store: ModelStore, clock: Clock) -> None:
    (store.folder / "cut.gguf").write_bytes(gguf()[:-1])
    clock.now_s += 100
    assert states(store) == {"cut.gguf": "damaged"}
    assert code_of(store, "cut") == Code.MODEL_DAMAGED


def test_a_clock_that_is_wrong_hides_nothing_for_long(store: ModelStore, clock: Clock) -> None:
    path = write_gguf(store.folder / "future.gguf")
    os.utime(path, (clock.now_s + 10**6, clock.now_s + 10**6))
    assert states(store) == {"future.gguf": "ready"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<!DOCTYPE html>", b"GGUF" + bytes(60)])
def test_what_is_no_model_is_damaged_and_hides_no_other(store: ModelStore, content: bytes) -> None:
    write_gguf(store.folder / "good.gguf")
    bad = store.folder / "bad.gguf"
    bad.write_bytes(content)
    settle(bad)
    assert states(store) == {"bad.gguf": "damaged", "good.gguf": "ready"}
    assert [model.name for model in store.list()] == ["good"]
    assert code_of(store, "bad") == Code.MODEL_DAMAGED
    with pytest.raises(DomovoiError) as refused:
        store.find_configured(str(bad))
    assert refused.value.code == Code.MODEL_DAMAGED


def test_a_part_of_a_split_model_says_what_to_do(store: ModelStore) -> None:
    write_gguf(store.folder / "big-00001-of-00003.gguf")
    with pytest.raises(DomovoiError, match="join the parts"):
        store.find("big-00001-of-00003")


def test_a_file_that_was_replaced_is_read_again(store: ModelStore) -> None:
    path = write_gguf(store.folder / "model.gguf")
    assert store.find(None).header.name == "Test Model"
    path.write_bytes(gguf({"general.name": "Another Model"}))
    settle(path)
    assert store.find(None).header.name == "Another Model"


def test_models_of_one_name_are_told_apart(store: ModelStore) -> None:
    write_gguf(store.folder / "Model-7B.Q4_1.gguf")
    write_gguf(store.folder / "Model-7B-Q8_0.gguf", entries={"general.file_type": 7})
    names = [model.name for model in store.list()]
    assert len(set(names)) == 2
    for model in store.list():
        assert store.find(model.name) == model


# The default.


def test_the_bundled_model_is_the_default_until_another_is_chosen(store: ModelStore) -> None:
    write_gguf(store.folder / "A.gguf")
    assert store.find(None).path.name == "A.gguf"
    write_gguf(store.folder / DEFAULT_MODEL.file.name)
    assert store.find(None).path.name == DEFAULT_MODEL.file.name
    store.use("A")
    again = ModelStore(store.folder, chosen=store.folder.parent / "node" / "default-model")
    assert again.find(None).path.name == "A.gguf"
    assert again.find_configured(DEFAULT_MODEL.file.name).path.name == DEFAULT_MODEL.file.name


def test_a_damaged_default_is_said_and_not_passed_over(store: ModelStore) -> None:
    write_gguf(store.folder / "A.gguf")
    bundled = store.folder / DEFAULT_MODEL.file.name
    bundled.write_bytes(b"GGUF")
    settle(bundled)
    assert code_of(store, None) == Code.MODEL_DAMAGED


def test_what_is_not_there_cannot_be_chosen(store: ModelStore) -> None:
    with pytest.raises(DomovoiError):
        store.use("nothing")


# Removing.


def test_a_removed_model_is_gone_and_no_longer_the_default(store: ModelStore) -> None:
    path = write_gguf(store.folder / "A.gguf")
    origins.write(store.folder, "A.gguf", Origin("https://example.org/A.gguf", "0" * 64, 1, [], 1, 1))
    write_gguf(store.folder / "B.gguf")
    store.use("A")
    assert store.remove("A") == path
    assert [model.name for model in store.list()] == ["B"]
    assert store.find(None).name == "B"
    assert origins.read(store.folder, "A.gguf") is None


def test_damaged_and_unfinished_ones_can_be_removed(store: ModelStore) -> None:
    (store.folder / "bad.gguf").write_bytes(b"junk")
    (store.folder / "half.gguf.part").write_bytes(b"half")
    origins.write(store.folder, "half.gguf", Origin("x", "0" * 64, 9, ["half.gguf.part"], 9))
    store.remove("bad")
    store.remove("half.gguf")
    assert [path.name for path in store.folder.iterdir()] == [origins.FOLDER]
    assert origins.unfinished(store.folder) == {}


@pytest.mark.parametrize("name", ["../outside", "../outside.gguf", "outside", ".origins", ""])
def test_nothing_outside_the_folder_can_be_removed(store: ModelStore, name: str) -> None:
    outside = write_gguf(store.folder.parent / "outside.gguf")
    with pytest.raises(DomovoiError):
        store.remove(name)
    assert outside.exists()


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
    assert download.is_intact(default_test_model, DEFAULT_MODEL.file)
