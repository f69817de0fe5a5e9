"""One more person in the house: invited by a link that works once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.browser import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household


def test_who_is_invited_comes_in_and_sees_nothing_of_others(
    household: Household, open_profile: Callable[..., Profile]
) -> None:
    household.start("server", "node")
    owner, guest = open_profile("owner"), open_profile("guest")
    owner.make_first_account(household.setup_code)
    owner.write("The owner's own question")
    owner.goto("/settings")
    owner.page.get_by_role("button", name="Invite someone").click()
    dialog = owner.page.get_by_role("dialog")
    link = dialog.locator("code").inner_text()
    owner.screenshot("invitation")
    dialog.get_by_role("button", name="Done").click()
    invitation = owner.page.locator("[data-invitation]")
    expect(invitation).to_contain_text("runs out in 7 days")

    guest.page.goto(link)
    guest.page.get_by_label("Your name").fill("Ilya")
    guest.page.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.page.get_by_role("button", name="Make account").click()
    expect(guest.composer).to_be_visible()
    guest.write("Say hello.")
    guest.expect_answer()
    expect(guest.page.get_by_role("link", name="The owner's own question")).to_have_count(0)
    guest.goto("/settings")
    expect(guest.page.get_by_role("button", name="Log out")).to_be_visible()
    expect(guest.page.get_by_role("button", name="Invite someone")).to_have_count(0)
    owner.page.reload()
    expect(invitation).to_contain_text("used")

    # That the page's policy has kept nothing of ours is looked for in every story: here is how that shows.
    assert owner.policy_reports == []
    owner.page.evaluate("document.head.append(Object.assign(document.createElement('script'), { text: 'stolen = 1' }))")
    assert owner.page.evaluate("typeof stolen") == "undefined"
    forbidden = """new Promise((resolve) => {
        addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective))
        fetch('http://localhost:9/').catch(() => undefined)
    })"""
    assert owner.page.evaluate(forbidden) == "connect-src"
    assert all(any(kind in report for report in owner.policy_reports) for kind in ("script-src", "connect-src"))
    owner.policy_reports.clear()
    owner.problems.clear()
