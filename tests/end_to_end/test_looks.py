"""Every screen on a phone and on a desktop, by day and by night, in English and Russian: nothing sticks out, axe finds
nothing.

The pictures go to `screenshots/`, to be held beside the drawings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.looks import look_at, speak

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household


def test_every_screen_fits_and_is_accessible(household: Household, open_profile: Callable[..., Profile]) -> None:
    household.start("server", "node")
    vera = open_profile("vera")
    page = vera.page
    found: list[str] = []
    for language in ("ru", "en"):
        vera.goto(f"/welcome?setup={household.setup_code}")
        speak(vera, language)
        expect(page.get_by_role("button").first).to_be_visible()
        found += look_at(vera, "welcome")
    page.set_viewport_size({"width": 1440, "height": 900})
    vera.make_first_account(household.setup_code)
    vera.write("Hello")
    vera.expect_answer()
    thread = page.url
    vera.goto("/new")
    vera.write("Doomed question")
    vera.expect_answer()
    vera.choose_in_menu("Delete")
    expect(page.get_by_role("link", name="Doomed question")).to_have_count(0)
    for language in ("en", "ru"):
        vera.page.goto(thread)
        speak(vera, language)
        vera.expect_answer()
        found += look_at(vera, "thread")
        page.set_viewport_size({"width": 360, "height": 780})
        page.locator("header.bar h1 button").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        found += look_at(vera, "status")
        page.keyboard.press("Escape")
        for path in ("new", "chats", "house", "settings", "bin", "nowhere"):
            vera.goto(f"/{path}")
            expect(page.get_by_role("heading").first).to_be_visible()
            if path == "house":
                expect(page.locator("li[data-file]").first).to_be_visible()
            found += look_at(vera, path)
    assert found == []
