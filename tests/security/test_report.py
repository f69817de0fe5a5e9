"""The last test here: what all the others have counted is what the page says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.effort import SLOW
from tests.security.report import PAGE, WRITE, WRITING, page_with

if TYPE_CHECKING:
    from tests.security.ledger import Ledger


def test_the_page_says_what_was_tried(ledger: Ledger) -> None:
    if SLOW or not ledger.rows:
        pytest.skip("the page is about a quick run, and a whole one")
    text = page_with(ledger.rows)
    if os.environ.get(WRITING):
        PAGE.write_text(text, "utf-8", newline="\n")
    assert PAGE.read_text("utf-8") == text, f"not current; run {WRITE}"
