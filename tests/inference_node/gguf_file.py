"""Writes small GGUF files, right or wrong, for tests."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from inference_node.gguf.header import GgufHeader

if TYPE_CHECKING:
    from pathlib import Path

UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9
F32, Q4_1 = 0, 3


class Tensor(NamedTuple):
    """One tensor's entry; `size` is what its data takes in the file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int


ENTRIES: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Test Model",
    "general.license": "apache-2.0",
    "general.file_type": 3,
    "llama.context_length": 2048,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.ggml.scores": [0.5] * 2000,
    "tokenizer.chat_template": "{{ messages }}{{ tools }}",
}
TENSORS = [Tensor("token_embd.weight", (64, 3), F32, 0, 768), Tensor("blk.0.weight", (64, 64), Q4_1, 768, 2560)]

# What the file below says of itself.
HEADER = GgufHeader(
    architecture="llama",
    name="Test Model",
    licence="apache-2.0",
    parameters=64 * 3 + 64 * 64,
    quantisation="Q4_1",
    context=2048,
    layers=2,
    embedding=64,
    vocabulary=3,
    kv_width=2 * 2 * (16 + 16),
    has_chat_template=True,
    knows_tools=True,
    file_bytes=12_032,
)


def gguf(
    entries: dict[str, Any] | None = None, tensors: list[Tensor] | None = None, *, version: int = 3, data: bool = True
) -> bytes:
    """Return a whole file; `entries` replace or add to ENTRIES, and None takes one away."""
    every = {key: value for key, value in (ENTRIES | (entries or {})).items() if value is not None}
    tensors = TENSORS if tensors is None else tensors
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(every))
    head += b"".join(text(key) + value_of(value) for key, value in every.items())
    for tensor in tensors:
        head += text(tensor.name) + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        head += struct.pack("<IQ", tensor.kind, tensor.offset)
    head += bytes(-len(head) % 32)
    return head + bytes(max((tensor.offset + tensor.size for tensor in tensors), default=0) if data else 0)


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def value_of(value: Any) -> bytes:
    """Return a typed value."""
    match value:
        case str():
            return struct.pack("<I", STRING) + text(value)
        case float():
            return struct.pack("<If", FLOAT32, value)
        case int():
            return struct.pack("<II", UINT32, value)
        case list():
            elements = [value_of(element) for element in value]
            kind = elements[0][:4] if elements else struct.pack("<I", UINT32)
            return struct.pack("<I", ARRAY) + kind + struct.pack("<Q", len(value)) + b"".join(e[4:] for e in elements)
        case bytes():
            return value
    raise TypeError(value)


def write_gguf(path: Path, **options: Any) -> Path:
    """Write a whole file that has lain there for a while."""
    path.write_bytes(gguf(**options))
    settle(path)
    return path


def settle(path: Path) -> None:
    """Date the file back, as one that nobody is writing any more."""
    os.utime(path, (1_700_000_000, 1_700_000_000))
