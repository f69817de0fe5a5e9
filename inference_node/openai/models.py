"""/v1/models: what can be asked for, by the name of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from inference_node.models.models import ModelFile


class ModelCard(Struct, frozen=True):
    """Answer to GET /v1/models/{model}. `created` is in seconds since 1970."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "domovoi"


class ModelCards(Struct, frozen=True):
    """Answer to GET /v1/models."""

    data: list[ModelCard]
    object: Literal["list"] = "list"


def model_card(model: ModelFile) -> ModelCard:
    """Return what a program is told of a model."""
    return ModelCard(model.path.stem, int(model.path.stat().st_mtime))
