"""`domovoi models`, typed into a shell."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from inference_node.models import download, origins
from inference_node.models.catalogue import CATALOGUE
from shared.library_wire import Library, LibraryModel
from tests.deploy.command_line import domovoi
from tests.end_to_end.household import ROOT, wait_until
from tests.inference_node.file_server import FileServer
from tests.inference_node.gguf_file import F32, Tensor, gguf, write_gguf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEIGHTS = 2 * 1024 * 1024
CONTENT = gguf(tensors=[Tensor("w", (WEIGHTS // 4,), F32, 0, WEIGHTS)])
SHA256 = hashlib.sha256(CONTENT).hexdigest()
EXIT_STARTUP = 78


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def server() -> Iterator[FileServer]:
    yield from FileServer({"Big-Model-7B.Q4_K_M.gguf": CONTENT}).running()


def listed(data: Path) -> Library:
    return msgspec.json.decode(domovoi("models", "list", "--json", data=data).out, type=Library)


def test_an_empty_folder_says_how_to_begin(tmp_path: Path) -> None:
    said = domovoi("models", "list", data=tmp_path / "new")
    assert said.code == 0
    assert "domovoi models pull smollm2-135m" in said.words
    assert "https" not in said.err
    assert [offer.id for offer in listed(tmp_path).catalogue] == [model.id for model in CATALOGUE]


def test_a_file_put_into_the_folder_is_listed_shown_used_and_removed(tmp_path: Path, models: Path) -> None:
    write_gguf(models / "A-Model.gguf")
    write_gguf(models / "Other-Model-7B.Q4_1.gguf")
    assert [(model.name, model.is_default) for model in listed(tmp_path).models] == [
        ("A Model", True),
        ("Other Model 7B", False),
    ]
    shown = domovoi("models", "show", "Other Model 7B", "--json", data=tmp_path)
    model = msgspec.json.decode(shown.out, type=LibraryModel)
    assert (model.architecture, model.context, model.licence, model.fits) == ("llama", 2048, "apache-2.0", "fits")
    assert "2,048" in domovoi("models", "show", "Other Model 7B", data=tmp_path).words
    assert "ChatML" not in domovoi("models", "show", "Other Model 7B", data=tmp_path).words
    write_gguf(models / "Bare.gguf", entries={"tokenizer.chat_template": None})
    assert (
        "no chat template, so prompts are written in ChatML" in domovoi("models", "show", "Bare", data=tmp_path).words
    )
    (models / "Bare.gguf").unlink()
    assert domovoi("models", "use", "Other Model 7B", data=tmp_path).code == 0
    assert [model.is_default for model in listed(tmp_path).models] == [False, True]
    assert domovoi("models", "remove", "Other Model 7B", data=tmp_path).code == 0
    assert [(model.name, model.is_default) for model in listed(tmp_path).models] == [("A Model", True)]


@pytest.mark.parametrize("command", ["show", "use", "remove"])
def test_a_name_that_is_not_there_is_said(tmp_path: Path, command: str) -> None:
    said = domovoi("models", command, "nothing", data=tmp_path)
    assert said.code == EXIT_STARTUP
    assert "The model is not on this node." in said.words


def test_a_setting_that_wins_over_the_choice_is_said(tmp_path: Path, models: Path) -> None:
    write_gguf(models / "A.gguf")
    (tmp_path / "domovoi.toml").write_text('model = "B"\n')
    said = domovoi("models", "use", "A", data=tmp_path)
    assert said.code == EXIT_STARTUP
    assert "domovoi.toml" in said.words


def test_a_damaged_file_says_so_in_the_list(tmp_path: Path, models: Path) -> None:
    path = models / "bad.gguf"
    write_gguf(path).write_bytes(b"<html>")
    assert "can't be used" in domovoi("models", "list", data=tmp_path).words


def test_any_file_is_pulled_by_address_and_checksum(tmp_path: Path, models: Path, server: FileServer) -> None:
    said = domovoi("models", "pull", server.address("Big-Model-7B.Q4_K_M.gguf"), "--sha256", SHA256, data=tmp_path)
    assert said.code == 0, said.err
    assert (models / "Big-Model-7B.Q4_K_M.gguf").read_bytes() == CONTENT
    [model] = listed(tmp_path).models
    assert (model.state, model.sha256) == ("ready", SHA256)
    assert domovoi("models", "show", "Big Model 7B", data=tmp_path).code == 0


def test_a_pull_without_its_checksum_is_refused(tmp_path: Path, server: FileServer) -> None:
    said = domovoi("models", "pull", server.address("Big-Model-7B.Q4_K_M.gguf"), data=tmp_path)
    assert said.code == EXIT_STARTUP
    assert "SHA-256" in said.words
    assert server.ranges == []


def test_a_cut_pull_is_listed_and_goes_on_by_its_name(tmp_path: Path, models: Path, server: FileServer) -> None:
    url = server.address("Big-Model-7B.Q4_K_M.gguf")
    half = download.BLOCK_BYTES
    origins.write(
        models,
        "Big-Model-7B.Q4_K_M.gguf",
        origins.Origin(url, SHA256, len(CONTENT), ["Big-Model-7B.Q4_K_M.gguf.part"], len(CONTENT)),
    )
    (models / "Big-Model-7B.Q4_K_M.gguf.part").write_bytes(CONTENT[:half])
    [model] = listed(tmp_path).models
    assert (model.state, model.done_bytes, model.source) == ("partial", half, url)
    assert "fetched; go on" in domovoi("models", "list", data=tmp_path).words
    assert domovoi("models", "pull", "Big-Model-7B.Q4_K_M.gguf", data=tmp_path).code == 0
    assert (models / "Big-Model-7B.Q4_K_M.gguf").read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={half}-"


def test_a_killed_pull_goes_on_where_it_was(tmp_path: Path, server: FileServer) -> None:
    # The first request only asks for the size.
    server.cuts, server.released = [0, download.BLOCK_BYTES], threading.Event()
    command = ("models", "pull", server.address("Big-Model-7B.Q4_K_M.gguf"), "--sha256", SHA256)
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.command", *command, "--data", str(tmp_path)], cwd=ROOT, stdin=subprocess.DEVNULL
    )
    part = tmp_path / "models" / "Big-Model-7B.Q4_K_M.gguf.part"
    wait_until(lambda: part.exists() and part.stat().st_size == download.BLOCK_BYTES, "half of the download")
    process.kill()
    process.wait()
    server.released.set()
    assert [model.state for model in listed(tmp_path).models] == ["partial"]
    assert domovoi(*command, data=tmp_path).code == 0
    assert (tmp_path / "models" / "Big-Model-7B.Q4_K_M.gguf").read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={download.BLOCK_BYTES}-"


def test_a_licence_is_asked_for_before_anything_is_fetched(tmp_path: Path) -> None:
    said = domovoi("models", "pull", "gemma3-270m-base", data=tmp_path)
    assert said.code == EXIT_STARTUP
    assert "https://ai.google.dev/gemma/terms" in said.words
    assert "--accept-licence" in said.words
    assert not (tmp_path / "models").exists()


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    said = domovoi("models", "pull", "gpt-5", data=tmp_path)
    assert said.code == EXIT_STARTUP
    assert "smollm2-135m" in said.words
