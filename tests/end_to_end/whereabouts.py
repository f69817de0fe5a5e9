"""What the app says of the ways to a PC, and what the browser lets it do about them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.end_to_end.browser import Profile

SETTLES_WITHIN_MS = 60_000


def permit(profile: Profile, setting: str) -> None:
    """Decide as the person does in the browser's settings: granted, denied or prompt."""
    # What is set lasts as long as the session, which nobody ends here.
    session = profile.context.new_cdp_session(profile.page)
    for name in ("local-network-access", "local-network", "loopback-network"):
        permission = {"permission": {"name": name}, "setting": setting, "origin": profile.url}
        session.send("Browser.setPermission", permission)


def expect_status(profile: Profile, words: str) -> None:
    line = profile.page.locator("button.here, header.bar .who").first
    expect(line).to_contain_text(re.compile(words), timeout=SETTLES_WITHIN_MS)


def ways(profile: Profile) -> dict[str, str]:
    """Open the sheet and return what it says of each address, then close it."""
    profile.page.locator("button.here, header.bar .who").first.click()
    sheet = profile.page.get_by_role("dialog")
    sheet.get_by_text("Ways there").click()
    rows = sheet.locator("[data-part=ways] dl > div")
    found = {row.locator("small").inner_text(): row.get_attribute("data-outcome") or "" for row in rows.all()}
    sheet.get_by_role("button", name="Close").click()
    return found
