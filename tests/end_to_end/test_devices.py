"""A device that is disconnected from another one ends there and then, and keeps what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.browser import PASSWORD, RECONNECT_WITHIN_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household


def test_a_lost_device_is_disconnected(household: Household, open_profile: Callable[..., Profile]) -> None:
    household.start("server", "node")
    mine, lost = open_profile("mine"), open_profile("lost")
    mine.make_first_account(household.setup_code)
    mine.write("First question")
    mine.expect_answer()
    lost.log_in()
    lost.open_conversation("First question")
    lost.expect_answer()

    mine.goto("/settings")
    devices = mine.page.locator("[data-device]")
    expect(devices).to_have_count(3)
    other = devices.filter(has_not_text="This device").filter(has_not_text="PC that answers")
    other.get_by_role("button").click()
    mine.page.get_by_role("menuitem", name="Disconnect").click()
    mine.page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
    expect(devices).to_have_count(2)

    # It says so at once; all that it has can be read, and what is written there goes on after the next login.
    expect(lost.questions.first).to_contain_text("First question")
    told = lost.page.get_by_role("button", name="This device was disconnected.")
    expect(told).to_be_visible(timeout=RECONNECT_WITHIN_MS)
    lost.write("Written without a login")
    expect(lost.questions.last).to_contain_text("Queued")
    told.click()
    log_in_again(lost)
    # The other device is told of that login too, whatever page it shows.
    login = mine.page.locator("[data-login]")
    expect(login).to_contain_text("from 127.0.0.1", timeout=RECONNECT_WITHIN_MS)
    mine.screenshot("login-notice")
    login.get_by_role("button", name="That was me").click()
    expect(login).to_have_count(0)
    mine.goto("/chats")
    mine.open_conversation("First question")
    expect(mine.questions.last).to_contain_text("Written without a login", timeout=RECONNECT_WITHIN_MS)

    # Who logs in while it is away is told when it is there again; that was somebody else, who knows the password.
    mine.close()
    thief = open_profile("thief")
    thief.log_in()
    expect(thief.page.get_by_role("link", name="First question").first).to_be_visible()
    mine.goto("/settings")
    login, devices = mine.page.locator("[data-login]"), mine.page.locator("[data-device]")
    expect(login).to_be_visible(timeout=RECONNECT_WITHIN_MS)
    login.get_by_role("button", name="That was not me").click()
    expect(login).to_have_count(0)
    gone = thief.page.get_by_role("button", name="This device was disconnected.")
    expect(gone).to_be_visible(timeout=RECONNECT_WITHIN_MS)
    # The password is asked for at once. Another one disconnects every other browser, too.
    dialog = mine.page.get_by_role("dialog")
    dialog.get_by_label("Password now").fill(PASSWORD)
    dialog.get_by_label("New password").fill("four other plain words")
    mine.screenshot("change-password")
    dialog.get_by_role("button", name="Change", exact=True).click()
    expect(mine.page.get_by_text("The password is changed.")).to_be_visible()
    expect(devices).to_have_count(2)
    expect(told).to_be_visible(timeout=RECONNECT_WITHIN_MS)


def log_in_again(profile: Profile) -> None:
    """Go on from what is said of a login that ended."""
    profile.page.get_by_role("dialog").get_by_role("button", name="Log in again").click()
    profile.page.get_by_label("Your name").fill("Vera")
    profile.page.get_by_label("Password", exact=True).fill(PASSWORD)
    profile.page.get_by_role("button", name="Log in").click()
