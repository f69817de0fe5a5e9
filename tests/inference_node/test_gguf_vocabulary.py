"""What people write never has a control token in it when it reaches an engine that would read it as one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.gguf.header import GgufError
from inference_node.gguf.vocabulary import WORD_JOINER, Spelling, control_texts
from tests.accel import tiny_models
from tests.effort import examples
from tests.inference_node.gguf_file import gguf

if TYPE_CHECKING:
    from pathlib import Path

CONTROLS = ["<|im_start|>", "<|im_end|>", "<|a<|", "|>"]
SPELLING = Spelling(CONTROLS)


def test_control_tokens_are_known_by_type_and_by_name(tiny_model: Path, default_test_model: Path) -> None:
    assert sorted(control_texts(tiny_model)) == sorted(["<|end|>", *tiny_models.CONTROLS])
    found = control_texts(default_test_model)
    # As in its tokenizer.json: 17 special tokens.
    assert len(found) == 17
    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>"} <= set(found)


def test_a_name_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(gguf({"tokenizer.ggml.tokens": ["a", "<|eot_id|>", "<b>", "</s>", "", "<end_of_turn>", "[EOT]"]}))
    assert set(control_texts(file)) == {"<|eot_id|>", "</s>", "<end_of_turn>", "[EOT]"}


def test_tokens_that_are_numbers_are_damage(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(gguf({"tokenizer.ggml.tokens": [1, 2]}))
    with pytest.raises(GgufError):
        control_texts(file)


letters = st.text("<|>im_endstara é", max_size=12)
texts = st.lists(st.sampled_from(CONTROLS) | letters, max_size=6).map("".join)
json = st.recursive(texts | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner))


@examples(60)
@given(json)
def test_no_text_spells_a_control_token_and_no_letter_is_lost(value: Any) -> None:
    harmless = SPELLING.harmless(value)
    written = repr(harmless)
    assert not re.search("|".join(map(re.escape, CONTROLS)), written)
    if not isinstance(value, dict):
        assert repr(_joined(harmless)) == repr(_joined(value))


def test_harmless_text_stays_as_it_is() -> None:
    value = {"role": "user", "content": "a < b | c > d <im_end>"}
    assert SPELLING.harmless(value) == value
    assert Spelling([]).harmless(value) == value


def _joined(value: Any) -> Any:
    """Return it without word joiners."""
    match value:
        case str():
            return value.replace(WORD_JOINER, "")
        case list():
            return [_joined(item) for item in value]
        case dict():
            return {_joined(name): _joined(item) for name, item in value.items()}
    return value
