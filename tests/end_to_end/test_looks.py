"""Every screen on a phone and on a desktop, by day and by night, in English and Russian: nothing sticks out, axe finds
nothing.

The pictures go to `screenshots/`, to be held beside the drawings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household

AXE = Path(__file__).parents[2] / "pwa" / "node_modules" / "axe-core" / "axe.min.js"
SIZES = {"phone": (360, 780), "desktop": (1440, 900)}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
VIOLATIONS = """async () => {
  const { violations } = await axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'] })
  return violations.map((violation) => `${violation.id}: ${violation.nodes[0].html}`)
}"""


def look_at(profile: Profile, name: str) -> list[str]:
    """Keep the screen's pictures, by day and night in both languages, and return what is wrong with it."""
    page = profile.page
    language = page.evaluate("document.documentElement.lang")
    # Colours are the same in every language, so the second one is looked at by day alone.
    themes: tuple[Literal["light", "dark"], ...] = ("light", "dark") if language == "en" else ("light",)
    page.evaluate(AXE.read_text("utf-8"))
    found = []
    for device, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for theme in themes:
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            where = f"{language}-{name}-{device}-{theme}"
            profile.screenshot(where)
            if page.evaluate(OVERFLOW) > 0:
                found.append(f"{where} sticks out sideways")
            found += [f"{where}: {violation}" for violation in page.evaluate(VIOLATIONS)]
    return found


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


def speak(profile: Profile, language: str) -> None:
    """Choose the language as the settings do, and open the page anew."""
    profile.page.evaluate(f"localStorage.setItem('domovoi.language', '{language}')")
    profile.page.reload()
    expect(profile.page.locator(f"html[lang={language}]")).to_be_attached()
