"""One household for the whole folder: everything here attacks it, and nothing may be lost by that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.security.household import Household
from tests.security.ledger import Faults, Ledger
from tests.sync_server.conftest import cheap_passwords

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cheap_passwords"]

REPORT = "test_report"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the table last: it is about all the others here."""
    items.sort(key=lambda item: item.path.parent.name == "security" and item.path.stem == REPORT)


@pytest.fixture(scope="session")
def household(tmp_path_factory: pytest.TempPathFactory, cheap_passwords: None) -> Iterator[Household]:
    """A server, a node and two accounts."""
    made = Household(tmp_path_factory.mktemp("household") / "data")
    yield made
    made.close()


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """What was tried so far."""
    return Ledger()


@pytest.fixture(autouse=True)
def nobody_was_surprised() -> Iterator[None]:
    """Fail a test in which server or node logged a traceback."""
    faults = Faults()
    logging.getLogger().addHandler(faults)
    yield
    logging.getLogger().removeHandler(faults)
    assert faults.texts == []


@pytest.fixture
def nothing_is_lost(household: Household) -> Iterator[None]:
    """Fail a test after which the owner has less than before."""
    before = household.belongings()
    yield
    assert before - household.belongings() == set()
