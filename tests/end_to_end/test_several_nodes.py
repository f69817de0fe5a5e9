"""Several PCs of an account: which one answers is settled for all devices; one in another's place is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.browser import RECONNECT_WITHIN_MS
from tests.sync_server.fake_node import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Request

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household


def test_A1_what_one_device_settles_another_follows(household: Household, open_profile: Callable[..., Profile]) -> None:
    # Two PCs that sleep: what is settled does not need them.
    for name in ("Study PC", "Attic PC"):
        Identity(name).enrol(household.data)
    household.start("server")
    phone, laptop = open_profile("phone"), open_profile("laptop")
    phone.make_first_account(household.setup_code)
    laptop.log_in()
    expect(laptop.composer).to_be_visible()
    for profile in (phone, laptop):
        profile.goto("/settings")
        expect(main_of(profile)).to_have_value("")
    main_of(phone).select_option(label="Attic PC")
    policy_of(phone).select_option(label="wait for it")
    expect(main_of(laptop).locator("option:checked")).to_have_text("Attic PC", timeout=RECONNECT_WITHIN_MS)
    expect(policy_of(laptop)).to_have_value("wait")
    # Whoever writes last has the say, and it outlives the app.
    policy_of(laptop).select_option(label="let another answer now")
    expect(policy_of(phone)).to_have_value("another", timeout=RECONNECT_WITHIN_MS)
    phone.close()
    phone.goto("/settings")
    expect(main_of(phone).locator("option:checked")).to_have_text("Attic PC")
    expect(policy_of(phone)).to_have_value("another")


def main_of(profile: Profile) -> Locator:
    return profile.page.get_by_label("PC that answers")


def policy_of(profile: Profile) -> Locator:
    return profile.page.get_by_label("When it does not answer")


def test_H7_a_pc_in_anothers_place_is_asked_nothing_until_a_person_accepts_it(
    household: Household, open_profile: Callable[..., Profile]
) -> None:
    household.start("server", "node")
    profile = open_profile("phone")
    # As anywhere else than on the PC itself, whose own browser asks it in the clear.
    profile.page.route(f"{household.node_url}/**", lambda route: route.abort())
    profile.make_first_account(household.setup_code)
    profile.write("Say hello.")
    profile.expect_answer()
    # The PC is set up anew: under the same name, with another key. The old one is removed.
    household.stop("node")
    profile.goto("/house")
    profile.page.locator(".node .icon-button").click()
    profile.page.get_by_role("menuitem", name="Remove this PC").click()
    profile.page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    expect(profile.page.get_by_text("No PC is paired")).to_be_visible()
    for kept in (household.data / "node").iterdir():
        if kept.is_file():
            kept.unlink()
    asked: list[Request] = []
    profile.page.on("request", lambda request: asked.append(request) if is_of_the_node(request) else None)
    household.start("node")
    card = profile.page.get_by_role("alert").filter(has_text="This is not the")
    expect(card).to_be_visible(timeout=RECONNECT_WITHIN_MS)
    profile.screenshot("strange-pc")
    profile.page.get_by_role("link", name="New chat").click()
    profile.composer.fill("The secret is 4711.")
    profile.press("Send")
    expect(profile.page.get_by_text("Another PC stands in the place of one that you know")).to_be_visible()
    # Nothing was sent, and no word was lost.
    expect(profile.composer).to_have_value("The secret is 4711.")
    assert asked == []
    assert not household.holds("4711")
    # By the app's own links: it keeps what was typed when the page is left.
    profile.page.get_by_role("link", name="House").click()
    card.get_by_role("button", name="I know it, accept").click()
    expect(card).to_have_count(0)
    profile.page.get_by_role("link", name="New chat").click()
    expect(profile.composer).to_have_value("The secret is 4711.")
    profile.press("Send")
    profile.expect_answer()
    assert asked != []


def is_of_the_node(request: Request) -> bool:
    return "/v1/sealed" in request.url
