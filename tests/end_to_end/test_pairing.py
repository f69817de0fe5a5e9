"""A PC that shares nothing with the server but the network: paired by code and six digits, asked, and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.end_to_end.browser import PASSWORD
from tests.end_to_end.household import Household
from tests.end_to_end.looks import look_at, speak
from tests.end_to_end.pair_command import PairCommand, begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.end_to_end.browser import Profile

PAIRED_WITHIN_MS = 30_000


@pytest.fixture
def pc(tmp_path: Path, household: Household, default_test_model: Path) -> Iterator[Household]:
    """Another machine, with the model on it. The page may connect to the node port that its server names alone."""
    house = Household(tmp_path / "pc", node_port=household.node_port, environment={"DOMOVOI_NODE_NAME": "Study PC"})
    house.add_model(default_test_model)
    yield house
    house.stop_all()


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    """The server's machine: no model, no node."""
    house = Household(tmp_path / "vps")
    yield house
    house.stop_all()


def test_P5_a_pc_elsewhere_is_paired_asked_and_removed(
    household: Household, pc: Household, open_profile: Callable[..., Profile]
) -> None:
    household.start("server")
    pc.start("node")
    vera = open_profile("vera")
    vera.make_first_account(household.setup_code)
    vera.goto("/house")
    expect(vera.page.get_by_text("No PC is paired").first).to_be_visible()

    # Whoever compares and says no has paired nothing.
    *_, address, code = begin(vera)
    assert address == household.url
    vera.screenshot("pairing-code")
    refused = PairCommand(pc, address, code)
    digits = refused.digits()
    dialog = vera.page.get_by_role("dialog")
    expect(dialog.get_by_role("img", name=" ".join(digits.replace(" ", "")))).to_be_visible()
    dialog.get_by_role("button", name="They differ, stop").click()
    assert refused.end() != 0
    refused.kill()
    expect(dialog).to_contain_text("Nothing was paired.")
    dialog.get_by_role("button", name="Close").click()

    *_, address, code = begin(vera)
    command = PairCommand(pc, address, code)
    digits = command.digits()
    expect(dialog.get_by_role("img", name=" ".join(digits.replace(" ", "")))).to_be_visible()
    expect(dialog).to_contain_text("Study PC may read your chats and answer in them.")
    expect(dialog).to_contain_text("You manage it")
    vera.screenshot("pairing-check")
    dialog.get_by_role("button", name="They match, pair").click()
    assert command.end() == 0, command.said
    command.kill()
    card = vera.page.get_by_role("region", name="Study PC")
    expect(card).to_contain_text("Awake", timeout=PAIRED_WITHIN_MS)
    vera.screenshot("pairing-done")

    vera.goto("/new")
    vera.write("Hello")
    assert vera.expect_answer().inner_text().strip()

    vera.goto("/house")
    card.get_by_role("button", name="Options for Study PC").click()
    vera.page.get_by_role("menuitem", name="Remove this PC").click()
    dialog.get_by_role("button", name="Remove", exact=True).click()
    expect(vera.page.get_by_text("No PC is paired").first).to_be_visible()
    vera.goto("/chats")
    vera.open_conversation("Hello")
    assert vera.expect_answer().inner_text().strip(), "what was written stays"


def test_every_step_fits_and_is_accessible(
    household: Household, pc: Household, open_profile: Callable[..., Profile]
) -> None:
    household.start("server")
    vera = open_profile("vera")
    vera.make_first_account(household.setup_code)
    page, found = vera.page, []
    for language in ("ru", "en"):
        vera.goto("/house")
        speak(vera, language)
        page.locator("header.top button").click()
        password = page.locator("dialog input")
        expect(password).to_be_visible()
        found += look_at(vera, "pairing-password")
        password.fill(PASSWORD)
        password.press("Enter")
        command = page.locator("[data-part=command]")
        expect(command).to_be_visible()
        found += look_at(vera, "pairing-code")
        asked = PairCommand(pc, *command.inner_text().split()[-2:])
        asked.digits()
        expect(page.locator("dialog .six")).to_be_visible()
        found += look_at(vera, "pairing-check")
        page.locator("dialog .decide button").last.click()
        assert asked.end() != 0
        asked.kill()
        expect(page.locator("dialog .two button.primary")).to_be_visible()
        found += look_at(vera, "pairing-over")
    assert found == []
