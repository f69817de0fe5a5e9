"""What the node itself says happened, asked through its own door."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from tests.end_to_end.household import Household


def runs_started(house: Household) -> int:
    """Return how many generations this node process has begun (its /metrics)."""
    text = httpx.get(f"{house.node_url}/metrics", trust_env=False).text
    found = re.search(r"^domovoi_runs_started_total ([0-9.e+]+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else 0
