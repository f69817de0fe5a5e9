"""How much a test tries: a sample by default, everything with DOMOVOI_SLOW_TESTS=1."""

from __future__ import annotations

import os

from hypothesis import settings

SLOW = bool(os.environ.get("DOMOVOI_SLOW_TESTS"))


def examples(sample: int) -> settings:
    """Return how many examples a property is tried on: so many, or as many as the thorough profile has."""
    return settings() if SLOW else settings(max_examples=sample)
