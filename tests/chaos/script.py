"""What an engine is told to say, in the question itself, and what it then says: words that name who said them."""

from __future__ import annotations

import msgspec
from msgspec import Struct

# Between words stand characters of one to four bytes in UTF-8, so that a cut can fall into one.
MARKS = (" ", "\n", "ж ", "€ ", "🙂 ")
NONCE_CHARACTERS = 8


class Script(Struct, frozen=True):
    """`name` is the run's; before each of `stops` (numbers of words) the engine stands still until it is let go."""

    name: str
    words: int
    stops: list[int] = []
    pause_s: float = 0.0
    # Bytes that each word is made longer by, so that some answers are more than a proxy lets through.
    filling: int = 0

    @property
    def text(self) -> str:
        """The question."""
        return msgspec.json.encode(self).decode()


def script_of(text: str) -> Script | None:
    """Return what a question asks for, or None for any other text."""
    try:
        return msgspec.json.decode(text, type=Script)
    except msgspec.DecodeError:
        return None


def word(script: Script, nonce: str, number: int) -> str:
    """Return the `number`-th word, from 0, of the generation that calls itself `nonce`."""
    return f"{nonce}{number}{'x' * script.filling}{MARKS[number % len(MARKS)]}"


def spoken(script: Script, nonce: str, words: int) -> str:
    """Return the first words of a generation."""
    return "".join(word(script, nonce, number) for number in range(words))


def words_in(script: Script, text: str) -> int | None:
    """Return how many whole words of one generation the text is, or None if it is anything else."""
    nonce, place = text[:NONCE_CHARACTERS], 0
    for number in range(script.words):
        if place == len(text):
            return number
        said = word(script, nonce, number)
        if not text.startswith(said, place):
            return None
        place += len(said)
    return script.words if place == len(text) else None
