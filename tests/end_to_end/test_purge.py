"""A chat that is deleted for good is gone from every device and from the server, whatever they were doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.browser import RECONNECT_WITHIN_MS
from tests.end_to_end.household import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household

SECRET = "The cellar key hangs behind the stove"


def delete(profile: Profile) -> None:
    profile.choose_in_menu("Delete")
    expect(profile.page.get_by_role("link", name=SECRET)).to_have_count(0)


def test_what_is_deleted_for_good_is_nowhere(household: Household, open_profile: Callable[..., Profile]) -> None:
    household.start("server", "node")
    one, two = open_profile("one"), open_profile("two")
    one.make_first_account(household.setup_code)
    one.write(SECRET)
    one.expect_answer()
    two.log_in()
    two.open_conversation(SECRET)
    two.expect_answer()

    assert household.holds(SECRET)
    delete(one)
    one.goto("/bin")
    one.press(f"Restore {SECRET}")
    expect(one.page.get_by_text("Nothing is deleted.")).to_be_visible()
    one.goto("/chats")
    one.open_conversation(SECRET)
    delete(one)
    one.goto("/bin")
    one.press(f"Delete {SECRET} for good")
    one.page.get_by_role("dialog").get_by_role("button", name="Delete for good").click()
    expect(one.page.get_by_text("Nothing is deleted.")).to_be_visible()

    two.goto("/chats")
    expect(two.page.get_by_role("link", name=SECRET)).to_have_count(0, timeout=RECONNECT_WITHIN_MS)
    two.goto("/bin")
    expect(two.page.get_by_text("Nothing is deleted.")).to_be_visible()
    wait_until(lambda: not household.holds(SECRET), "the server to forget")
