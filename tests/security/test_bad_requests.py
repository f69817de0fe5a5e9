"""Requests that no client of ours sends: hosts, origins, headers, paths, queries, lengths, ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.security.raw_http import verdict_of_request
from tests.security.vectors import Vector, table

if TYPE_CHECKING:
    from tests.security.household import Household
    from tests.security.ledger import Ledger

BOTH = ["server", "loopback"]


@pytest.mark.usefixtures("nothing_is_lost")
def test_every_request_of_the_table(household: Household, ledger: Ledger) -> None:
    wrong = [line for vector in table("http") for line in _tried(household, ledger, vector)]
    assert wrong == []


def _tried(household: Household, ledger: Ledger, vector: Vector) -> list[str]:
    wrong = []
    for place in vector.input.get("at", BOTH):
        verdict = verdict_of_request(household, place, vector.input)
        is_wrong = verdict != vector.verdict
        is_unhandled = verdict.startswith("500") or "no problem" in verdict
        ledger.note("requests", wrongly_accepted=is_wrong and verdict[0] == "2", unhandled=is_unhandled)
        if is_wrong:
            wrong.append(f"{vector.id} at {place} ({vector.comment}): {verdict}, not {vector.verdict}")
    return wrong
