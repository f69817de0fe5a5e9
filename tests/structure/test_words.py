"""What can go wrong has words in every language of the app."""

from __future__ import annotations

import re

import pytest

from shared.errors import EXPLANATIONS, Code
from tests.structure.tracked import ROOT

WORDS = ROOT / "pwa" / "src" / "i18n"


def words(language: str) -> str:
    """Return all texts of a language: `<language>.ts`, `<language>.json`, or a folder of that name."""
    own = [
        path
        for path in WORDS.rglob("*.*")
        if language in {*path.relative_to(WORDS).parent.parts, *path.name.split(".")}
    ]
    return "\n".join(path.read_text("utf-8") for path in sorted(own))


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_error_has_words(language: str) -> None:
    text = words(language)
    missing = [code.value for code in Code if not re.search(rf"""\b{code.value}\b['"]?\s*:""", text)]
    assert missing == []


def test_every_error_says_what_to_do() -> None:
    assert set(EXPLANATIONS) == set(Code)
    assert [code for code, explanation in EXPLANATIONS.items() if not (explanation.title and explanation.advice)] == []
