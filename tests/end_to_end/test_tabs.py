"""Several tabs of one browser: one talks to the server for all, and none is waited for when the browser freezes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.browser import RECONNECT_WITHIN_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household


def test_a_frozen_tab_keeps_nobody_waiting(household: Household, open_profile: Callable[..., Profile]) -> None:
    household.start("server", "node")
    one, two = open_profile("one"), open_profile("two")
    one.make_first_account(household.setup_code)
    one.write("First question")
    one.expect_answer()
    two.log_in()
    two.open_conversation("First question")

    leader = one.page
    beside = one.context.new_page()
    beside.goto(leader.url)
    expect(beside.locator("article[data-role=user]")).to_contain_text("First question")
    browser = one.context.new_cdp_session(leader)
    # A paused page does what a frozen one does, nothing; headless Chromium freezes none. Held inside a callback, it
    # loses what other tabs tell it.
    browser.send("Debugger.enable")
    leader.evaluate("void setTimeout(() => { debugger })")
    composer = beside.locator("textarea").last
    composer.fill("Written beside a frozen tab")
    composer.press("Enter")
    expect(two.questions.last).to_contain_text("Written beside a frozen tab", timeout=RECONNECT_WITHIN_MS)

    browser.send("Debugger.resume")
    browser.send("Debugger.disable")
    expect(one.questions.last).to_contain_text("Written beside a frozen tab")
    one.expect_answer()
    beside.close()
    one.write("Written where it was frozen")
    expect(two.questions.last).to_contain_text("Written where it was frozen", timeout=RECONNECT_WITHIN_MS)
    one.expect_answer()
    for profile in (one, two):
        expect(profile.questions).to_have_count(3)
