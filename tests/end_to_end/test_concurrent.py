"""Two people's devices, both offline, both writing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.browser import RECONNECT_WITHIN_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household


def test_what_both_did_offline_is_there_on_both(household: Household, open_profile: Callable[..., Profile]) -> None:
    household.start("server", "node")
    one, two = open_profile("one"), open_profile("two")
    one.make_first_account(household.setup_code)
    one.write("First question")
    one.expect_answer()
    one.goto("/new")
    one.write("Doomed question")
    one.expect_answer()
    two.log_in()
    two.open_conversation("First question")
    one.open_conversation("First question")
    two.expect_answer()

    household.kill("server")
    household.kill("node")
    one.edit_question("First question", "First question, edited by one")
    one.rename("Renamed by one")
    two.edit_question("First question", "First question, edited by two")
    two.rename("Renamed by two")
    two.open_conversation("Doomed question")
    two.choose_in_menu("Delete")
    expect(two.page.get_by_role("link", name="Doomed question")).to_have_count(0)
    two.open_conversation("Renamed by two")

    household.start("server", "node")
    for profile in (one, two):
        profile.hear_of_a_network()
        # The later writer wins the title; the deletion holds; both edits are branches beside the first question.
        renamed = profile.page.get_by_role("heading", name="Renamed by two")
        expect(renamed).to_be_visible(timeout=RECONNECT_WITHIN_MS)
        expect(profile.page.get_by_role("link", name="Doomed question")).to_have_count(0)
        expect(profile.questions.first.locator(".branch")).to_have_text(re.compile("/3"))
    texts = [profile.branch_texts() for profile in (one, two)]
    assert texts[0] == texts[1]
    assert texts[0] == ["First question", "First question, edited by one", "First question, edited by two"]
