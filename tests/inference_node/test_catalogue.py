"""The catalogue says what the files themselves say."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest

from inference_node.gguf.header import read_header
from inference_node.models.catalogue import CATALOGUE, DEFAULT_MODEL, GIB, CatalogueModel, find, proposal
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: str(model.id))
def test_every_entry_can_be_fetched_and_checked(model: CatalogueModel) -> None:
    artefacts = [model.file, *(piece.wheel for piece in model.pieces)]
    assert all(len(artefact.sha256) == 64 and set(artefact.sha256) <= set(string.hexdigits) for artefact in artefacts)
    assert model.file.name.endswith(".gguf")
    assert model.licence.url.startswith("https://")
    assert model.for_whom.endswith(".")
    for name in (model.id, model.name, model.file.name):
        assert find(name) is model


def test_names_are_told_apart() -> None:
    assert len({model.id for model in CATALOGUE}) == len({model.file.name for model in CATALOGUE}) == len(CATALOGUE)


def test_the_default_is_what_its_header_says(default_test_model: Path) -> None:
    header, model = read_header(default_test_model), DEFAULT_MODEL
    assert (header.architecture, header.parameters) == (model.architecture, model.parameters)
    assert (header.quantisation, header.context) == (model.quantisation, model.context)
    assert (header.has_chat_template, header.file_bytes) == (model.is_chat, model.file.size)
    assert header.licence == model.licence.name.lower()


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(DomovoiError, match="smollm2-135m") as unknown:
        find("gpt-5")
    assert unknown.value.code == Code.MODEL_UNKNOWN


@pytest.mark.parametrize(
    ("memory", "words"),
    [(0, "small model"), (2 * GIB, "1B to 1.7B"), (12 * GIB, "7B to 9B model at 4 to 5 bits"), (80 * GIB, "70B")],
)
def test_proposals_by_memory(memory: int, words: str) -> None:
    assert words in proposal(memory)
