"""The house: models are loaded, unloaded, chosen and removed from the app, and keys are made for other programs."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import httpx
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household

SPARE = "Spare.gguf"
LOADED_WITHIN_MS = 60_000


def test_a_house_is_kept_from_the_app(
    household: Household, open_profile: Callable[..., Profile], default_test_model: Path
) -> None:
    spare = household.data / "models" / SPARE
    shutil.copy2(default_test_model, spare)
    household.start("server", "node")
    vera = open_profile("vera")
    vera.make_first_account(household.setup_code)
    vera.page.get_by_role("link", name="House").click()
    keep_models(vera, default_test_model, spare)
    keep_keys(vera)
    vera.goto("/new")
    choose_model(vera)


def keep_models(vera: Profile, model: Path, spare: Path) -> None:
    page = vera.page
    models = page.get_by_role("region", name="Models")
    row = models.locator(f"li[data-file='{model.name}']")
    expect(row).to_have_attribute("data-state", "ready", timeout=LOADED_WITHIN_MS)
    # Quantisation, size, context and licence are said.
    expect(row).to_contain_text(re.compile(r"Q4_1 · 98\.\d MB · 8\sk context · apache-2\.0", re.IGNORECASE))
    row.get_by_role("button", name="Options").click()
    page.get_by_role("menuitem", name="Unload").click()
    expect(row).to_have_attribute("data-state", "idle", timeout=LOADED_WITHIN_MS)
    row.get_by_role("button", name="Load", exact=True).click()
    expect(row).to_have_attribute("data-state", "ready", timeout=LOADED_WITHIN_MS)

    spare_row = models.locator(f"li[data-file='{SPARE}']")
    spare_row.get_by_role("button", name="Options").click()
    page.get_by_role("menuitem", name="Remove").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    dialog.get_by_role("button", name="Remove", exact=True).click()
    expect(spare_row).to_have_count(0)
    assert not spare.exists()


def keep_keys(vera: Profile) -> None:
    page = vera.page
    page.get_by_role("button", name="Make a key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Which program is it for").fill("Editor")
    dialog.get_by_role("button", name="Make a key").click()
    secret = dialog.locator(".secret code").first.inner_text()
    address = dialog.locator(".secret code").nth(1).inner_text()

    def ask() -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.get(f"{address}/models", headers=headers, trust_env=False).status_code

    assert ask() == 200
    dialog.get_by_role("button", name="Done").click()
    # It takes a moment to leave, and is no dialog any more while it does.
    expect(page.locator(".secret")).to_have_count(0)
    keys = page.get_by_role("region", name="Other programs")
    expect(keys.get_by_text("Editor", exact=True)).to_be_visible()
    assert secret not in page.content(), "the secret is shown once"

    keys.get_by_role("button", name="Revoke the key for Editor").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(keys.get_by_text("Editor", exact=True)).to_have_count(0)
    assert ask() == 401


def choose_model(vera: Profile) -> None:
    """Choose in the composer, and have that model answer."""
    page = vera.page
    page.locator("button.chip").click()
    choices = page.get_by_role("menuitemradio")
    expect(choices.first).to_have_attribute("aria-checked", "true")
    name = choices.nth(1).locator(".grow").evaluate("(words) => words.firstChild.textContent.trim()")
    choices.nth(1).click()
    expect(page.locator("button.chip")).to_contain_text(name)
    vera.write("Hello")
    vera.expect_answer()
    expect(vera.answers.last.locator("button.route")).to_contain_text(name)
