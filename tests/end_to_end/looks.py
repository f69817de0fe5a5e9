"""Pictures of a screen on a phone and on a desktop, and what is wrong with it there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.end_to_end.browser import Profile

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


def speak(profile: Profile, language: str) -> None:
    """Choose the language as the settings do, and open the page anew."""
    profile.page.evaluate(f"localStorage.setItem('domovoi.language', '{language}')")
    profile.page.reload()
    expect(profile.page.locator(f"html[lang={language}]")).to_be_attached()
