"""Bodies of /v1/library: models of a node, asked of that node."""

from __future__ import annotations

from msgspec import Struct


class LibraryModel(Struct, frozen=True):
    """A model file of a node. `size` and `done_bytes` are in bytes, `context` in tokens.

    `state`: ready, arriving (being copied), damaged, or partial (its fetching was cut, `done_bytes` of it are there).
    `fits`: fits, tight (with less context) or too_large, for the memory that is free now; empty when not ready.
    `source`: a catalogue id or an address; null for a file that its owner put there. `detail` is for people.
    """

    file: str
    name: str
    size: int
    state: str
    is_default: bool = False
    done_bytes: int = 0
    architecture: str = ""
    parameters: int = 0
    quantisation: str = ""
    context: int = 0
    has_chat_template: bool = False
    licence: str | None = None
    source: str | None = None
    sha256: str | None = None
    fits: str = ""
    fitting_context: int = 0
    detail: str = ""


class CatalogueOffer(Struct, frozen=True):
    """A model that the node can fetch by its `id`. With `must_accept`, only with `accept_licence`."""

    id: str
    name: str
    file: str
    size: int
    download_bytes: int
    parameters: int
    quantisation: str
    context: int
    is_chat: bool
    licence: str
    licence_url: str
    must_accept: bool
    for_whom: str


class PullState(Struct, frozen=True):
    """How fetching a file goes, in bytes, and the `progress` event. `state`: running, done, stopped or failed."""

    file: str
    state: str
    done: int
    total: int
    code: str | None = None
    detail: str | None = None


class Library(Struct, frozen=True):
    """GET /v1/library: the node's models, what else it can fetch by name, and what is being fetched.

    `proposal` says in words which models suit this machine. `disk_free` is in bytes.
    """

    models: list[LibraryModel]
    catalogue: list[CatalogueOffer]
    proposal: str
    disk_free: int
    pulls: list[PullState] = []


class PullModel(Struct, frozen=True):
    """POST /v1/library/pull: fetch a model of the catalogue, or go on; a repeat attaches to the same fetching."""

    id: str
    accept_licence: bool = False


class ModelChoice(Struct, frozen=True):
    """POST /v1/library/use, remove, load and unload: a model by file name or name."""

    model: str
