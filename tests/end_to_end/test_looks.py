"""Every screen on a phone and on a desktop, by day and by night: nothing sticks out, axe finds nothing.

The pictures go to `screenshots/`, to be held beside the drawings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
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
    """Keep the screen's four pictures and return what is wrong with it."""
    page = profile.page
    page.evaluate(AXE.read_text("utf-8"))
    found = []
    for device, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            where = f"{name}-{device}-{theme}"
            profile.screenshot(where)
            if page.evaluate(OVERFLOW) > 0:
                found.append(f"{where} sticks out sideways")
            found += [f"{where}: {violation}" for violation in page.evaluate(VIOLATIONS)]
    return found


@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
def test_every_screen_fits_and_is_accessible(
    household: Household, open_profile: Callable[..., Profile], locale: str
) -> None:
    household.start("server")
    household.start("node")
    vera = open_profile("vera", locale=locale)
    language = locale[:2]
    vera.goto(f"/welcome?setup={household.setup_code}")
    expect(vera.page.get_by_role("button").first).to_be_visible()
    found = look_at(vera, f"{language}-welcome")

    inputs = vera.page.locator("input")
    inputs.nth(1).fill("Vera")
    inputs.nth(2).fill("three plain words")
    vera.page.locator("button[type=submit]").click()
    expect(vera.composer).to_be_visible()
    found += look_at(vera, f"{language}-new")
    vera.write("Hello")
    vera.expect_answer()
    found += look_at(vera, f"{language}-thread")
    vera.page.set_viewport_size({"width": 360, "height": 780})
    vera.page.locator("header.bar h1 button").click()
    expect(vera.page.get_by_role("dialog")).to_be_visible()
    found += look_at(vera, f"{language}-status")
    vera.page.keyboard.press("Escape")
    for path in ("chats", "house", "settings", "nowhere"):
        vera.goto(f"/{path}")
        expect(vera.page.get_by_role("heading").first).to_be_visible()
        found += look_at(vera, f"{language}-{path}")
    assert found == []
