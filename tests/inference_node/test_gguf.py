from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference_node.gguf import read_header
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from pathlib import Path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(given: Any) -> bytes:
    match given:
        case str():
            return struct.pack("<I", 8) + text(given)
        case int():
            return struct.pack("<II", 4, given)
        case list():
            items = b"".join(text(item) if isinstance(item, str) else struct.pack("<I", item) for item in given)
            return struct.pack("<IIQ", 9, 8 if given and isinstance(given[0], str) else 4, len(given)) + items
        case _:
            raise TypeError(given)


def gguf(**values: Any) -> bytes:
    pairs = b"".join(text(name.replace("__", ".")) + value(given) for name, given in values.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)) + pairs


def test_it_tells_what_the_model_is(default_test_model: Path) -> None:
    header = read_header(default_test_model)
    assert (header.architecture, header.quantisation, header.context) == ("llama", "Q4_1", 8192)
    assert not header.can_embed
    # 30 layers, 3 heads of 64 numbers, keys and values, 2 bytes each.
    assert header.cache_bytes_per_token() == 30 * 3 * 64 * 2 * 2


def test_long_lists_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    words = [f"word{n}" for n in range(2000)]
    file.write_bytes(gguf(words=words, numbers=list(range(2000)), few=[1, 2], general__architecture="qwen3"))
    header = read_header(file)
    assert header.values == {"words": None, "numbers": None, "few": [1, 2], "general.architecture": "qwen3"}
    assert header.architecture == "qwen3"
    assert header.cache_bytes_per_token() is None


def test_an_embedding_model_is_known_by_its_pooling(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf(general__architecture="bert", bert__pooling_type=1))
    assert read_header(file).can_embed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, data: st.DataObject) -> None:
    whole = gguf(general__architecture="llama", few=[1, 2, 3], words=["a", "b"])
    cut = data.draw(st.integers(0, len(whole) - 1))
    file = tmp_path / "model.gguf"
    file.write_bytes(whole[:cut])
    with pytest.raises(DomovoiError) as refused:
        read_header(file)
    assert refused.value.code == Code.MODEL_DAMAGED
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(changed)
    try:
        header = read_header(file)
    except DomovoiError as error:
        assert error.code == Code.MODEL_DAMAGED  # noqa: PT017  # most changes go unseen
    else:
        assert isinstance(header.quantisation, str)
        assert header.cache_bytes_per_token() is None
