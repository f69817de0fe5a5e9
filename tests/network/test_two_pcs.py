"""Two PCs, and what becomes of a question when one of them dies (rules D9, Q7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.whereabouts import SETTLES_WITHIN_MS, expect_status
from tests.network.app_log import same_answer

if TYPE_CHECKING:
    from tests.network.machines import Browser, Machine

LONG = "Write a long story about a garden, with many details."


def settle(phone: Browser, main: str, policy: str = "") -> None:
    """Say in the settings who answers, and what happens while it does not."""
    phone.goto("/settings")
    phone.page.get_by_label("PC that answers").select_option(label=main)
    if policy:
        phone.page.get_by_label("When it does not answer").select_option(label=policy)
    # By the app's own link: a page that is loaded anew in the same moment may not have written yet what was chosen.
    phone.page.get_by_role("link", name="New chat").click()
    expect(phone.composer).to_be_visible()


def test_D9_another_pc_takes_over_from_one_that_died_in_mid_answer(
    pc: Machine, second_pc: Machine, phone: Browser
) -> None:
    settle(phone, "Study PC", "let another answer now")
    phone.goto("/new")
    expect_status(phone, "Direct|Relay")
    with pc.slow_engine():
        phone.write(LONG)
        phone.expect_words()
        pc.kill("node")
    phone.goto("/house")
    card = phone.page.get_by_role("region", name="Study PC")
    expect(card).to_contain_text("Cut off since", timeout=SETTLES_WITHIN_MS)
    # What is asked now goes to the other one.
    before = second_pc.runs_started()
    phone.goto("/new")
    expect_status(phone, "Direct|Relay")
    phone.write("What is a garden?")
    phone.expect_answer()
    assert second_pc.runs_started() == before + 1
    same_answer(phone, second_pc)
    # The one that died says what became of its answer, and goes on when it is asked to.
    pc.start("node")
    phone.goto("/chats")
    phone.open_conversation(LONG[:20])
    phone.expect_answer("interrupted")
    expect(phone.answers.last.get_by_text("The PC restarted in mid-answer.")).to_be_visible()
    assert pc.runs_started() == 0, "nothing is run again by itself"
    phone.press("Retry")
    phone.expect_answer()
    same_answer(phone, pc)
    settle(phone, "whichever answers")
