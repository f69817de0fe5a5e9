"""The targets by name. Each is a module with `make() -> Target`; nothing of ours is imported here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# Takes any bytes, and raises for what nobody had thought of.
Target = Callable[[bytes], None]

TARGETS = ("tokens", "pushes", "archives", "gguf_files", "frames")
CORPUS = Path(__file__).parent / "corpus"


def corpus(name: str) -> list[Path]:
    """Return the inputs of a target that come with the repository, in order."""
    return sorted((CORPUS / name).iterdir())
