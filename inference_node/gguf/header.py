"""What a GGUF file says of itself, read without an engine and without trust: every count is checked before use.

The layout is that of the GGUF specification, versions 2 and 3, little-endian. Only the header is read, in plain reads
and not through a memory map, because a file that shrinks under a map kills the process.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from inference_node.gguf.packings import FILE_TYPES, TENSOR_TYPES

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MAGIC = b"GGUF"
VERSIONS = (2, 3)

# A vocabulary of 262,144 words makes a header of 10 MB; these leave room and still bound time and memory.
MOST_HEADER_BYTES = 64 * 1024 * 1024
MOST_ENTRIES = 65_536
MOST_ELEMENTS = 4_000_000
MOST_KEY_BYTES = 65_535
MOST_DIMENSIONS = 4
MOST_ALIGNMENT = 1024 * 1024
MOST_TEXT = 200
# Offsets are 64-bit in the file; no disk holds more than this.
MOST_FILE_BYTES = 2**62

# What engines do without a template: the format that most such models were trained on.
STAND_IN = "The file has no chat template, so prompts are written in ChatML. Its answers may be poor."
# What `prompting.for_template` does.
FOLDED = "Its chat template takes no system prompt, so that stands before the first question."

# A way of "pooling": see `llama_pooling_type` in llama.h.
RANKING = 4

_DEFAULT_ALIGNMENT = 32
_TEMPLATES = ("tokenizer.chat_template", "tokenizer.chat_template.tool_use")
_READ_BYTES = 1024 * 1024
_STRING, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _BOOL: "?", 10: "Q", 11: "q", 12: "d"}
_SHORT_ARRAY = 1024


class GgufError(ValueError):
    """The file is no GGUF file, or one that contradicts itself; the message says how."""


class GgufCutShort(GgufError):
    """The file ends before what its header promises: it is still being copied, or was cut."""


class GgufHeader(Struct, frozen=True):
    """What a header tells. Texts come from a stranger: they are shortened and hold no control characters.

    `context` is in tokens, 0 when the file does not say. `kv_width` is how many numbers one token adds to the
    keys and values of all layers together. `can_embed`: the model is made for embeddings, `can_rank`: for telling
    how well a text answers a question, and for nothing else. Of its template, `knows_tools`: it writes tools into
    prompts, `refuses_system`: it raises an error for a system message. `file_bytes` is what the whole file must have.
    """

    architecture: str
    parameters: int
    quantisation: str
    context: int
    layers: int
    embedding: int
    vocabulary: int
    kv_width: int
    has_chat_template: bool
    file_bytes: int
    name: str | None = None
    licence: str | None = None
    can_embed: bool = False
    can_rank: bool = False
    knows_tools: bool = False
    refuses_system: bool = False

    @property
    def remark(self) -> str:
        """What its owner should know of how it is run, in words; empty when there is nothing."""
        if self.refuses_system:
            return FOLDED
        return "" if self.has_chat_template or self.can_embed else STAND_IN


def read_header(path: Path) -> GgufHeader:
    """Read a file's header and check that the file holds all it promises.

    Raises GgufError, GgufCutShort, OSError.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        header = _read(Cursor(file))
    if size < header.file_bytes:
        raise GgufCutShort(f"{header.file_bytes - size} bytes are missing at its end")
    return header


class Cursor:
    """Reads onwards through the file, and keeps what it has read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = bytearray()
        self.position = 0

    def number(self, form: str) -> Any:
        size = struct.calcsize(form)
        return struct.unpack_from(f"<{form}", self._bytes, self.skip(size))[0]

    def count(self, form: str, most: int, of_what: str) -> int:
        count: int = self.number(form)
        if count > most:
            raise GgufError(f"it claims {count} {of_what}, and no model has more than {most}")
        return count

    def text(self, most: int) -> bytes:
        return self.bytes(self.count("Q", most, "bytes of text"))

    def bytes(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        start = self.skip(size)
        return bytes(self._bytes[start : start + size])

    def skip(self, size: int) -> int:
        """Go on by `size` bytes; return where they begin."""
        start, end = self.position, self.position + size
        if end > len(self._bytes):
            self._read_to(end)
        self.position = end
        return start

    def skip_texts(self, count: int) -> None:
        unpack, size_of = struct.Struct("<Q").unpack_from, 8
        for _ in range(count):
            start = self.skip(size_of)
            self.skip(unpack(self._bytes, start)[0])

    def _read_to(self, end: int) -> None:
        if end > MOST_HEADER_BYTES:
            raise GgufError(f"its header is longer than {MOST_HEADER_BYTES} bytes")
        while len(self._bytes) < end:
            wanted = max(_READ_BYTES, end - len(self._bytes))
            read = self._file.read(min(wanted, MOST_HEADER_BYTES - len(self._bytes)))
            if not read:
                raise GgufCutShort("its header is cut")
            self._bytes += read


def _read(cursor: Cursor) -> GgufHeader:
    if (magic := bytes(cursor.number("4s"))) != MAGIC:
        raise GgufError(f"it begins with {magic!r}, not with {MAGIC!r}")
    version = cursor.number("I")
    if version not in VERSIONS:
        raise GgufError(f"its GGUF version is {version}; known are {VERSIONS[0]} and {VERSIONS[1]}, little-endian")
    tensors = cursor.count("Q", MOST_ENTRIES, "tensors")
    entries = _entries(cursor, cursor.count("Q", MOST_ENTRIES, "entries"))
    parameters, data_bytes, packings = _tensors(cursor, tensors)
    alignment = _alignment(entries)
    file_bytes = -(-cursor.position // alignment) * alignment + data_bytes
    return _describe(entries, parameters, max(packings, key=packings.__getitem__, default="?"), file_bytes)


def _entries(cursor: Cursor, count: int) -> dict[str, Any]:
    """Return numbers, texts and short arrays by key; an array too long to matter here is its length, negated."""
    entries: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.text(MOST_KEY_BYTES).decode("utf-8", "replace")
        if key in entries:
            raise GgufError(f"it has two entries {_shown(key)!r}")
        entries[key] = read_value(cursor, cursor.number("I"))
    return entries


def read_value(cursor: Cursor, kind: int) -> Any:
    """Return a value of that type, as `_entries` has them."""
    if kind in _NUMBERS:
        return cursor.number(_NUMBERS[kind])
    if kind == _STRING:
        return cursor.text(MOST_HEADER_BYTES).decode("utf-8", "replace")
    if kind != _ARRAY:
        raise GgufError(f"it has a value of the unknown type {kind}")
    element, count = cursor.number("I"), cursor.count("Q", MOST_ELEMENTS, "elements")
    if element == _STRING:
        cursor.skip_texts(count)
    elif element not in _NUMBERS:
        raise GgufError(f"it has an array of the unknown type {element}")
    elif count <= _SHORT_ARRAY:
        return [cursor.number(_NUMBERS[element]) for _ in range(count)]
    else:
        cursor.skip(count * struct.calcsize(_NUMBERS[element]))
    return -count


def _tensors(cursor: Cursor, count: int) -> tuple[int, int, dict[str, int]]:
    """Return the number of weights, where the last tensor ends in the data, and bytes by packing."""
    parameters, end = 0, 0
    packings: dict[str, int] = {}
    for _ in range(count):
        cursor.text(MOST_KEY_BYTES)
        shape = [cursor.number("Q") for _ in range(cursor.count("I", MOST_DIMENSIONS, "dimensions"))]
        kind, offset = cursor.number("I"), cursor.number("Q")
        weights = math.prod(shape)
        # A packing newer than this table is for the engine to refuse; its size is not known here.
        packing = TENSOR_TYPES.get(kind)
        if packing is not None and shape and shape[0] % packing.block:
            raise GgufError(f"a row of {shape[0]} weights does not divide into blocks of {packing.block}")
        size = weights // packing.block * packing.block_bytes if packing else 0
        if max(offset, weights) + size > MOST_FILE_BYTES:
            raise GgufError("it has a tensor larger than any disk")
        name = packing.name if packing else f"type {kind}"
        packings[name] = packings.get(name, 0) + size
        parameters, end = parameters + weights, max(end, offset + size)
    return parameters, end, packings


def _alignment(entries: dict[str, Any]) -> int:
    alignment = entries.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 1 <= alignment <= MOST_ALIGNMENT:
        raise GgufError(f"its alignment is {alignment}")
    return alignment


def _describe(entries: dict[str, Any], parameters: int, packing: str, file_bytes: int) -> GgufHeader:
    architecture = _text(entries, "general.architecture")
    if not architecture:
        raise GgufError("it does not name its architecture")
    layers = _count(entries, f"{architecture}.block_count")
    embedding = _count(entries, f"{architecture}.embedding_length")
    pooling = _count(entries, f"{architecture}.pooling_type")
    file_type = entries.get("general.file_type")
    return GgufHeader(
        architecture=architecture,
        parameters=parameters,
        quantisation=FILE_TYPES.get(file_type, packing) if isinstance(file_type, int) else packing,
        context=_count(entries, f"{architecture}.context_length"),
        layers=layers,
        embedding=embedding,
        vocabulary=-min(0, _whole(entries.get("tokenizer.ggml.tokens"))),
        kv_width=_kv_width(entries, architecture, layers, embedding),
        has_chat_template=bool(_text(entries, "tokenizer.chat_template")),
        can_embed=pooling not in (0, RANKING),
        can_rank=pooling == RANKING,
        knows_tools=any("tools" in str(entries.get(key, "")) for key in _TEMPLATES),
        refuses_system=_refuses_system(str(entries.get("tokenizer.chat_template", ""))),
        file_bytes=file_bytes,
        name=_text(entries, "general.name"),
        licence=_text(entries, "general.license"),
    )


def _refuses_system(template: str) -> bool:
    """Say whether the template raises an error for a system message, naming it (Gemma 2) or not (Mistral's first)."""
    return "raise_exception" in template and ("System role not supported" in template or "system" not in template)


def _kv_width(entries: dict[str, Any], architecture: str, layers: int, embedding: int) -> int:
    """Keys and values of one token: Σ over layers of kv heads · (key length + value length).

    Grouped-query attention shares heads (`head_count_kv`, one number or one a layer); a head's length is
    `attention.key_length`, or else embedding / heads.
    """
    heads = entries.get(f"{architecture}.attention.head_count")
    kv_heads = entries.get(f"{architecture}.attention.head_count_kv", heads)
    most_heads = max(heads, default=1) if isinstance(heads, list) else _whole(heads)
    length = embedding // max(1, _whole(most_heads))
    width = sum(_count(entries, f"{architecture}.attention.{kind}_length", length) for kind in ("key", "value"))
    total = sum(map(_whole, kv_heads)) if isinstance(kv_heads, list) else layers * _whole(kv_heads)
    return max(0, total) * width


def _count(entries: dict[str, Any], key: str, default: int = 0) -> int:
    return max(0, _whole(entries.get(key, default)))


def _whole(value: object) -> int:
    """Return a plausible whole number; 0 for anything else, because these only inform."""
    return value if isinstance(value, int) and abs(value) < 2**32 else 0


def _text(entries: dict[str, Any], key: str) -> str | None:
    value = entries.get(key)
    return _shown(value) or None if isinstance(value, str) else None


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:MOST_TEXT]).strip()
