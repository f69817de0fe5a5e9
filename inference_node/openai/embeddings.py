"""/v1/embeddings: where texts lie among each other, for models that can say."""

from __future__ import annotations

import array
import base64
import sys
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from inference_node.engines.engine import Embeddings

# OpenAI's limit.
MOST_TEXTS = 2048


class EmbeddingsRequest(Struct, frozen=True, kw_only=True):
    """POST /v1/embeddings. Members that are not named here are ignored."""

    input: str | Annotated[list[str | int | list[int]], Meta(min_length=1, max_length=MOST_TEXTS)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None

    @property
    def texts(self) -> list[str]:
        """The texts. Raises DomovoiError `bad_request`, `unsupported`."""
        given = [self.input] if isinstance(self.input, str) else self.input
        texts = [text for text in given if isinstance(text, str)]
        if len(texts) < len(given):
            raise DomovoiError(Code.UNSUPPORTED, "Tokens are not the same for every model. Send the input as text.")
        if not all(texts):
            raise DomovoiError(Code.BAD_REQUEST, "An empty text lies nowhere. Leave it out.")
        if self.dimensions is not None:
            raise DomovoiError(Code.UNSUPPORTED, "Vectors are as long as the model makes them. Leave dimensions out.")
        return texts


class EmbeddingRow(Struct, frozen=True):
    """The vector of the `index`-th text: numbers, or 32-bit floats, little-endian, in base64."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingsUsage(Struct, frozen=True):
    """Counts of tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsList(Struct, frozen=True):
    """Answer to POST /v1/embeddings."""

    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingsUsage
    object: Literal["list"] = "list"


def embeddings_list(body: EmbeddingsRequest, embeddings: Embeddings, model: str) -> EmbeddingsList:
    """Return the vectors as the program asked for them."""
    encode = _base64 if body.encoding_format == "base64" else list
    rows = [EmbeddingRow(index, encode(vector)) for index, vector in enumerate(embeddings.vectors)]
    return EmbeddingsList(rows, model, EmbeddingsUsage(embeddings.tokens, embeddings.tokens))


def _base64(vector: list[float]) -> str:
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
