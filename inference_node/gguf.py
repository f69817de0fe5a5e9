"""What a GGUF file says of itself, without its weights.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MAGIC = b"GGUF"
VERSIONS = {2, 3}
# A file that names more, or a longer string, is damaged: the largest vocabularies have some 260,000 tokens.
MOST_KEYS = 10_000
MOST_STRING_BYTES = 16 * 1024 * 1024
MOST_ITEMS = 4_000_000
# Lists that are longer than this are vocabularies, which nobody here reads.
MOST_KEPT_ITEMS = 1024

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING = 8
_ARRAY = 9
# llama.cpp's names of `general.file_type` (enum llama_ftype).
_FILE_TYPES = (
    "F32 F16 Q4_0 Q4_1 - - - Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K"
    " IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16"
)
_FILE_TYPE_NAMES = dict(enumerate(_FILE_TYPES.split()))


class Header(NamedTuple):
    """The file's metadata; vocabularies are left out."""

    values: dict[str, Any]

    @property
    def architecture(self) -> str:
        """The model's family: "llama", "qwen2"; empty when the file does not say."""
        return str(self.values.get("general.architecture", ""))

    @property
    def quantisation(self) -> str:
        """How most weights are packed: "Q4_1"; empty when the file does not say."""
        file_type = self.values.get("general.file_type")
        return _FILE_TYPE_NAMES.get(file_type, "") if isinstance(file_type, int) else ""

    @property
    def context(self) -> int | None:
        """How many tokens the model was trained on at once."""
        return self._number("context_length")

    @property
    def can_embed(self) -> bool:
        """Whether the model is made for embeddings: it says how to pool, and not "none"."""
        return bool(self._number("pooling_type"))

    def cache_bytes_per_token(self, bytes_per_number: float = 2.0) -> int | None:
        """Return what keys and values of a token take in memory, or None when the file does not say enough."""
        layers, heads, width = (
            self._number(key) for key in ("block_count", "attention.head_count", "embedding_length")
        )
        if not layers or not heads or not width:
            return None
        key_heads = self.values.get(f"{self.architecture}.attention.head_count_kv", heads)
        each = key_heads if isinstance(key_heads, list) else [key_heads] * layers
        if not all(isinstance(heads, int) for heads in each):
            return None
        lengths = sum(self._number(f"attention.{name}_length") or width // heads for name in ("key", "value"))
        return int(sum(each) * lengths * bytes_per_number)

    def _number(self, key: str) -> int | None:
        value = self.values.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else None


def read_header(path: Path) -> Header:
    """Return the metadata of a GGUF file. Raises DomovoiError `model_damaged`, OSError."""
    with path.open("rb") as file:
        try:
            if file.read(len(MAGIC)) != MAGIC or _number(file, "I") not in VERSIONS:
                raise ValueError("not a GGUF file of a known version")
            _number(file, "Q")
            keys = _limited(_number(file, "Q"), MOST_KEYS)
            return Header({_string(file): _value(file, _number(file, "I")) for _ in range(keys)})
        except (struct.error, ValueError, KeyError) as error:
            raise DomovoiError(Code.MODEL_DAMAGED, f"{path.name} can't be read as GGUF: {error}.") from error


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _number(file, _NUMBERS[kind])
    item, count = _number(file, "I"), _limited(_number(file, "Q"), MOST_ITEMS)
    if item == _ARRAY:
        raise ValueError("a list of lists")
    if count <= MOST_KEPT_ITEMS:
        return [_value(file, item) for _ in range(count)]
    if item == _STRING:
        for _ in range(count):
            file.seek(_limited(_number(file, "Q"), MOST_STRING_BYTES), 1)
    else:
        file.seek(count * struct.calcsize(_NUMBERS[item]), 1)
    return None


def _string(file: BinaryIO) -> str:
    length = _limited(_number(file, "Q"), MOST_STRING_BYTES)
    data = file.read(length)
    if len(data) < length:
        raise ValueError("it is cut short")
    return data.decode()


def _number(file: BinaryIO, code: str) -> Any:
    return struct.unpack(f"<{code}", file.read(struct.calcsize(code)))[0]


def _limited(count: int, most: int) -> int:
    if count > most:
        raise ValueError(f"{count} where at most {most} can be")
    return count
