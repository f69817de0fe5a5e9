"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import settings

from tests.model import default_test_model

__all__ = ["default_test_model"]

# Times vary on a busy machine, so no deadline; a failure prints the blob that reproduces it.
settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000)
settings.load_profile("thorough" if os.environ.get("DOMOVOI_SLOW_TESTS") else "quick")
