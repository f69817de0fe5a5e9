"""The control tokens of a GGUF file: texts that mean something to the model when they are read as such.

`<|im_end|>` is one. For engines that look for them in a whole prompt, what people wrote included.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from inference_node.gguf.header import MAGIC, MOST_ELEMENTS, MOST_ENTRIES, MOST_KEY_BYTES, Cursor, GgufError, read_value

if TYPE_CHECKING:
    from pathlib import Path

_ARRAY, _STRING, _INT32 = 9, 8, 5
# Types of tokens (ggml's `llama_token_type`) that are found in a text only where control tokens are looked for.
_UNKNOWN, _CONTROL = 2, 3
# Ends of turns and texts, control tokens to llama.cpp whatever their type (`src/llama-vocab.cpp`, 2026-10).
_LOOKS_LIKE_ONE = re.compile(
    r"<[|\uff5c][^<>]*>|<[^<>]*[|\uff5c]>|_?<EOT>|\[EO[TS]\]|</?s>|<(?:end_of_\w+|eos)>|\[e~\["
)
# Joins words, is not seen, and is in no control token.
WORD_JOINER = "\u2060"


def control_texts(path: Path) -> list[str]:
    """Return the texts of a model's control tokens. Raises GgufError, OSError."""
    tokens: list[bytes] = []
    kinds: tuple[int, ...] = ()
    with path.open("rb") as file:
        cursor = Cursor(file)
        if bytes(cursor.number("4s")) != MAGIC:
            raise GgufError("it is no GGUF file")
        cursor.number("I")
        cursor.count("Q", MOST_ENTRIES, "tensors")
        for _ in range(cursor.count("Q", MOST_ENTRIES, "entries")):
            key, kind = cursor.text(MOST_KEY_BYTES), cursor.number("I")
            if key == b"tokenizer.ggml.tokens" and kind == _ARRAY:
                tokens = _texts(cursor)
            elif key == b"tokenizer.ggml.token_type" and kind == _ARRAY:
                kinds = _numbers(cursor)
            else:
                read_value(cursor, kind)
    texts = [token.decode("utf-8", "replace") for token in tokens]
    typed = {text for text, kind in zip(texts, kinds, strict=False) if kind in {_UNKNOWN, _CONTROL}}
    return sorted(typed.union(filter(_LOOKS_LIKE_ONE.fullmatch, texts)) - {""}, key=len, reverse=True)


class Spelling:
    """Breaks up control tokens that people have spelt, so that an engine reads them as text."""

    def __init__(self, controls: list[str]) -> None:
        """Take the texts of control tokens, longer ones before shorter ones."""
        self._pattern = re.compile("|".join(map(re.escape, controls)) or r"(?!)")

    def harmless(self, value: Any) -> Any:
        """Return JSON in which no text spells a control token: a word joiner is after its first letter."""
        match value:
            case str():
                return self._text(value)
            case list():
                return [self.harmless(item) for item in value]
            case dict():
                return {self._text(name): self.harmless(item) for name, item in value.items()}
        return value

    def _text(self, text: str) -> str:
        # Tokens may overlap; each round breaks at least one of those that are left. One of a single letter stays.
        while (broken := self._pattern.sub(_broken, text)) != text:
            text = broken
        return text


def _broken(match: re.Match[str]) -> str:
    token = match[0]
    return token[:1] + WORD_JOINER + token[1:] if len(token) > 1 else token


def _texts(cursor: Cursor) -> list[bytes]:
    _require(cursor, _STRING)
    return [cursor.text(MOST_KEY_BYTES) for _ in range(cursor.count("Q", MOST_ELEMENTS, "tokens"))]


def _numbers(cursor: Cursor) -> tuple[int, ...]:
    _require(cursor, _INT32)
    count = cursor.count("Q", MOST_ELEMENTS, "types of tokens")
    return struct.unpack(f"<{count}i", cursor.bytes(count * 4))


def _require(cursor: Cursor, kind: int) -> None:
    if (found := cursor.number("I")) != kind:
        raise GgufError(f"its tokens are of type {found}")
