"""Reading what GGUF files say of themselves, and surviving those that lie."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference_node.gguf import header as gguf_header
from inference_node.gguf.header import FOLDED, GgufCutShort, GgufError, GgufHeader, read_header
from tests.inference_node.gguf_file import ARRAY, ENTRIES, F32, HEADER, STRING, UINT32, Tensor, gguf, text, write_gguf

if TYPE_CHECKING:
    from pathlib import Path

# The folder is only a place for the one file that each example overwrites.
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def header_of(folder: Path, content: bytes) -> GgufHeader:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return read_header(path)


@pytest.mark.parametrize(
    ("template", "refuses"),
    [
        ("{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}", True),
        (
            "{% if role not in ['user', 'assistant'] %}{{ raise_exception('Only user!') }}{% endif %}",
            True,
        ),
        ("{% if role == 'system' %}{{ content }}{% else %}{{ raise_exception('No.') }}{% endif %}", False),
        ("{{ messages }}{{ tools }}", False),
        (None, False),
    ],
)
def test_a_template_that_takes_no_system_prompt_is_known(tmp_path: Path, template: str | None, refuses: bool) -> None:
    path = write_gguf(tmp_path / "m.gguf", entries={"tokenizer.chat_template": template})
    header = read_header(path)
    assert (header.refuses_system, header.remark == FOLDED) == (refuses, refuses)


def test_a_header_is_read(tmp_path: Path) -> None:
    assert header_of(tmp_path, gguf()) == HEADER


def test_the_real_model_is_read(default_test_model: Path) -> None:
    header = read_header(default_test_model)
    assert (header.architecture, header.quantisation, header.licence) == ("llama", "Q4_1", "apache-2.0")
    assert (header.layers, header.context, header.vocabulary) == (30, 8192, 49_152)
    assert header.parameters == 134_515_008
    assert header.kv_width == 30 * 3 * (64 + 64)
    assert header.file_bytes == default_test_model.stat().st_size


def test_what_the_file_leaves_out_is_left_out(tmp_path: Path) -> None:
    bare = dict.fromkeys(ENTRIES) | {"general.architecture": "mamba"}
    header = header_of(tmp_path, gguf(bare))
    assert header.architecture == "mamba"
    assert header.quantisation == "Q4_1"
    assert (header.name, header.licence, header.context, header.has_chat_template) == (None, None, 0, False)


def test_kv_heads_may_differ_by_layer(tmp_path: Path) -> None:
    entries = {"llama.attention.head_count_kv": [2, 1], "llama.attention.key_length": 8}
    assert header_of(tmp_path, gguf(entries)).kv_width == 3 * (8 + 16)


@pytest.mark.parametrize("missing", [1, 100, 3000])
def test_a_file_cut_in_its_weights_is_known_as_cut(tmp_path: Path, missing: int) -> None:
    with pytest.raises(GgufCutShort, match=f"{missing} bytes"):
        header_of(tmp_path, gguf()[:-missing])


def test_a_file_cut_in_its_header_is_known_as_cut(tmp_path: Path) -> None:
    header = gguf(data=False)
    for length in range(0, len(header), 37):
        with pytest.raises(GgufCutShort):
            header_of(tmp_path, header[:length])


def test_a_packing_of_the_future_is_not_called_damaged(tmp_path: Path) -> None:
    content = gguf({"general.file_type": 9999}, [Tensor("w", (64, 2), 9999, 0, 0)])
    assert header_of(tmp_path, content).quantisation == "type 9999"


HUGE = 2**63
LIES: dict[str, bytes] = {
    "not GGUF": b"PK\x03\x04" + bytes(100),
    "version 1": gguf(version=1),
    "big-endian": gguf(version=0x03000000),
    "a key of 2^63 bytes": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", HUGE),
    "2^63 entries": b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE),
    "2^63 tensors": b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0),
    "an unknown type": gguf({"x": struct.pack("<I", 13)}),
    "an array of arrays": gguf({"x": struct.pack("<IIQ", ARRAY, ARRAY, 1)}),
    "an array of 2^63": gguf({"x": struct.pack("<IIQ", ARRAY, UINT32, HUGE)}),
    "an array of 2^63 texts": gguf({"x": struct.pack("<IIQ", ARRAY, STRING, HUGE)}),
    "a text of 2^64 - 1 bytes": gguf({"x": struct.pack("<IQ", STRING, 2**64 - 1)}),
    "a text in an array of 2^64 - 1": gguf({"x": struct.pack("<IIQQ", ARRAY, STRING, 1, 2**64 - 1)}),
    "twice the same key": b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * (text("a") + struct.pack("<II", UINT32, 1)),
    "alignment 0": gguf({"general.alignment": struct.pack("<II", UINT32, 0)}),
    "alignment 2^31": gguf({"general.alignment": struct.pack("<II", UINT32, 2**31)}),
    "an alignment of text": gguf({"general.alignment": struct.pack("<I", STRING) + text("32")}),
    "no architecture": gguf({"general.architecture": None}),
    "an architecture that is a number": gguf({"general.architecture": 7}),
    "ten dimensions": gguf(tensors=[Tensor("w", (1,) * 10, F32, 0, 4)]),
    "a tensor of 2^120 weights": gguf(tensors=[Tensor("w", (2**60, 2**60), F32, 0, 0)]),
    "a tensor at 2^63": gguf(tensors=[Tensor("w", (1,), F32, HUGE, 0)], data=False),
    "half a block": gguf(tensors=[Tensor("w", (33, 1), 3, 0, 20)]),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(tmp_path: Path, lie: str) -> None:
    with pytest.raises(GgufError):
        header_of(tmp_path, LIES[lie])


def test_a_long_header_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_header, "MOST_HEADER_BYTES", 1000)
    with pytest.raises(GgufError, match="longer than 1000"):
        header_of(tmp_path, gguf())


def test_texts_of_a_stranger_are_harmless(tmp_path: Path) -> None:
    header = header_of(tmp_path, gguf({"general.name": "\x1b[2J\r\nmodel\u202e" + "x" * 1000}))
    assert header.name is not None
    assert header.name.isprintable()
    assert len(header.name) <= 200


NUMBERS = st.integers(0, 2**32 - 1) | st.floats(width=32) | st.text(max_size=5)
VALUES = NUMBERS | st.lists(st.integers(0, 2**32 - 1), max_size=4) | st.lists(st.text(max_size=3), max_size=4)


@SHARED_FOLDER
@given(entries=st.dictionaries(st.sampled_from(sorted(ENTRIES)), VALUES))
def test_any_value_in_any_entry_is_read_or_refused(tmp_path: Path, entries: dict[str, Any]) -> None:
    try:
        header = header_of(tmp_path, gguf(entries))
    except GgufError:
        return
    assert min(header.context, header.layers, header.kv_width, header.vocabulary) >= 0


@SHARED_FOLDER
@given(data=st.data())
def test_any_damage_is_read_or_refused_at_once(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(gguf())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 900))
        content[place : place + 8] = data.draw(st.binary(min_size=1, max_size=8))
    # A loop over a count that the file merely claims would never end.
    with contextlib.suppress(GgufError):
        header_of(tmp_path, bytes(content))
