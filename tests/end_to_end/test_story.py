"""What a person gets on the first day: account, answer, offline, queue, a second browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.end_to_end.conftest import furnished
from tests.end_to_end.node_log import runs_started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory, default_test_model: Path) -> Iterator[Household]:
    """One for both stories; the second goes on where the first has ended."""
    yield from furnished(tmp_path_factory.mktemp("house"), default_test_model)


def test_the_first_day(household: Household, open_profile: Callable[..., Profile]) -> None:
    household.start("server", "node")
    vera = open_profile("vera")
    vera.make_first_account(household.setup_code)
    assert not (household.data / "setup-code").exists(), "the setup code works once"

    vera.write("Hello")
    first = vera.expect_answer().inner_text()
    assert first.strip()
    vera.screenshot("story-answer")
    address = vera.page.url

    household.kill("server")
    household.kill("node")
    vera.page.reload()
    expect(vera.expect_answer()).to_have_text(first)
    vera.write("Name three birds")
    expect(vera.questions.last).to_have_attribute("data-state", "queued")
    vera.screenshot("story-queued")
    vera.close()
    vera.page.goto(address)
    expect(vera.questions.last).to_have_attribute("data-state", "queued")

    household.start("server", "node")
    assert vera.expect_answer().inner_text().strip()
    expect(vera.questions.last).to_have_attribute("data-state", "accepted")
    assert runs_started(household) == 1, "sent once and answered once"

    tablet = open_profile("tablet")
    tablet.log_in()
    tablet.open_conversation("Hello")
    expect(tablet.answers).to_have_count(2)
    vera.write("And one fish")
    expect(tablet.questions.filter(has_text="And one fish")).to_be_visible()
    tablet.expect_answer()
    vera.expect_answer()
    expect(tablet.answers.last.locator("[data-part=body]")).to_have_text(
        re.compile(re.escape(vera.answers.last.locator("[data-part=body]").inner_text()[:40]))
    )


def test_a_request_is_answered_while_the_app_is_closed(
    household: Household, open_profile: Callable[..., Profile]
) -> None:
    household.start(*({"server", "node"} - household.processes.keys()))
    vera = open_profile("vera")
    vera.enter(household)
    before = household.finished_answers()
    vera.write("Hello")
    vera.expect_answer()
    address = vera.page.url

    household.wait_for_finished_answers(before + 1)
    household.kill("node")
    vera.write("Name a colour")
    expect(vera.questions.last).to_have_attribute("data-state", "accepted")
    expect(vera.answers.last).to_have_attribute("data-state", "queued")
    vera.close()

    household.start("node")
    household.wait_for_finished_answers(before + 2)
    vera.page.goto(address)
    assert vera.expect_answer().inner_text().strip()
    assert runs_started(household) == 1
