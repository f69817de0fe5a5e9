"""On each database: what the server accepted survives its death."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.end_to_end.test_streams import SHORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household
    from tests.mariadb import MariaDB


@pytest.fixture(params=["sqlite", "mariadb"])
def running(request: pytest.FixtureRequest, household: Household) -> Household:
    if request.param == "mariadb":
        mariadb: MariaDB = request.getfixturevalue("mariadb")
        household.environment["DOMOVOI_DATABASE_URL"] = mariadb.new_database()
    household.start("server", "node")
    return household


def test_a_killed_server_loses_nothing_that_it_accepted(
    running: Household, open_profile: Callable[..., Profile]
) -> None:
    vera = open_profile("vera")
    vera.make_first_account(running.setup_code)
    vera.expect_connection()
    vera.write(SHORT)
    expect(vera.questions.last).to_have_attribute("data-state", "accepted")
    running.kill("server")
    vera.expect_answer()
    running.start("server")
    running.wait_for_finished_answers(1)
    tablet = open_profile("tablet")
    tablet.log_in()
    tablet.open_conversation("Describe the sea")
    text = vera.answers.last.locator("[data-part=body]").inner_text()
    expect(tablet.expect_answer()).to_have_text(text)
